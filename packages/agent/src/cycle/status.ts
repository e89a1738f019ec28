import { Agent } from 'node:https';
import { boardPaths, type Identity, requireIdentity } from '../board/identity.ts';
import type { BootLoaderKind } from '../boot-loader/boot-loader.ts';
import type { Deployment } from '../deploy/deployer.ts';
import { openDeployer } from '../deploy/open-deployer.ts';
import type { BadRelease, State } from '../machine/index.ts';
import type { Pinned, Planned, Pointed, Transfer } from '../state/schema.ts';
import { EMPTY, readState } from '../state/store.ts';

export interface AgentStatus {
  identity: Identity;
  state: State;
  bad: readonly BadRelease[];
  /** Deployment that runs; null when the board is off or has none. */
  running: Deployment | null;
  /** In boot order. */
  deployments: readonly Deployment[];
  /** ms since the epoch of the server's last answer (to the minute); null if it never answered. */
  checkedAt: number | null;
  /** Why the last look at the server failed. */
  lastError: string | null;
  /** What the last update cost. */
  transfer: Transfer | null;
  /** Where the release that was fetched last came from, if it is a developer's. */
  pointed: Pointed | null;
  /** What the last release that was offered takes on the wire, as the server said. */
  planned: Planned | null;
  /** Why a person wants it to stay as it is; null if nobody does. */
  pinned: Pinned | null;
  /** Which boot loader counts. */
  bootLoader: BootLoaderKind;
  /** Reports that wait for the server. */
  unsent: number;
}

/**
 * What a board knows of itself, read from its folder without disturbing a running agent.
 *
 * @throws AgentError `not-enrolled`
 */
export async function agentStatus(board: string): Promise<AgentStatus> {
  const identity = await requireIdentity(board);
  const paths = boardPaths(board);
  const file = (await readState(paths.agent)) ?? EMPTY;
  const none = { cert: '', key: '', ca: '' };
  const deployer = await openDeployer(board, {
    identity,
    remote: {
      ...{ gateway: identity.gateway, files: none, tls: none },
      agent: new Agent(),
      headers: () => ({}),
      size: async () => null,
    },
  });
  const { running, deployments } = await deployer.status();
  return {
    identity,
    state: file.machine.state,
    bad: file.machine.bad,
    running,
    deployments,
    checkedAt: file.checkedAt,
    lastError: file.lastError,
    transfer: file.transfer,
    pointed: file.pointed,
    planned: file.planned,
    pinned: file.pinned,
    bootLoader: await deployer.bootLoader(),
    unsent: file.outbox.length,
  };
}
