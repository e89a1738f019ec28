import { boardPaths, requireIdentity } from '../board/identity.ts';
import { knock } from '../board/lock.ts';
import { AgentError } from '../errors.ts';
import type { Planned } from '../state/schema.ts';
import { EMPTY, openState, readState } from '../state/store.ts';
import type { AgentOptions } from './agent.ts';
import { runOnce } from './agent.ts';
import { wayBack } from './cycle.ts';
import { openParts } from './open-agent.ts';
import { leaveRequest } from './requests.ts';
import { agentStatus } from './status.ts';

/** What a look at the server found, without anything being done about it. */
export interface Look {
  booted: string | null;
  /** What the server offers; null: nothing. */
  offered: string | null;
  /** What it would take on the wire; null when nothing is to be fetched, or nobody can say. */
  planned: Planned | null;
  /** Why it is not taken now; null when it is. */
  held: string | null;
  /** A running agent was told to look, too. */
  told: boolean;
}

/**
 * Asks the server what this board should run, how much that is, and whether it may be taken now; a running agent is told
 * to look at once.
 *
 * @throws AgentError `not-enrolled`, `unreachable`, `refused`
 */
export async function lookNow(board: string, signal?: AbortSignal): Promise<Look> {
  const { agent } = boardPaths(board);
  await requireIdentity(board);
  // A copy of what the agent remembers: nothing of it is written from here.
  const current = (await readState(agent)) ?? EMPTY;
  const store = { current, save: async () => {} };
  const parts = await openParts(board, { store, signal, onWarning: () => {} });
  try {
    const { booted } = await parts.deployer.status();
    parts.setBooted(booted);
    const offer = await parts.client.offered(parts.identity().channel, signal);
    const told = await knock(agent);
    if (offer === null || offer.commit === booted) {
      return { booted, offered: offer?.commit ?? null, planned: null, held: null, told };
    }
    const { commit: release, at } = offer;
    const bad = current.machine.bad.find((entry) => entry.release === release);
    const plan = await parts.deployer.plan(release, { at, signal });
    const { objects, bytes, delta } = plan;
    const planned = objects === null || bytes === null ? null : { release, objects, bytes, delta: delta !== null };
    const held = bad === undefined ? await parts.policy.mayDownload(release) : `it was bad on this board: ${bad.why}`;
    return { booted, offered: release, planned, held: held ?? (await parts.policy.mayReboot(release)), told };
  } finally {
    parts.close();
  }
}

/**
 * Asks the agent of a board to leave what it runs for the deployment before it: as after a failed check, what is left is
 * not taken again before the server forgives it. Where no agent runs, it is done here.
 *
 * @returns where it goes, and whether a running agent does it
 * @throws AgentError `invalid` when there is nothing to go back to
 */
export async function goBack(
  o: AgentOptions & { why: string },
): Promise<{ from: string; to: string; byAgent: boolean }> {
  const { running, deployments, bad } = await agentStatus(o.board);
  const to = wayBack({ deployments, booted: running?.commit ?? null, bad });
  if (running === null || to === undefined) {
    throw new AgentError('invalid', 'there is no other deployment to go back to', {
      hint: 'A board has one after its first update, until it has fallen back.',
    });
  }
  const byAgent = await ask(o, { kind: 'rollback', why: o.why });
  return { from: running.commit, to, byAgent };
}

/** Keeps a board at what it runs, or lets it go on. @returns whether a running agent heard of it */
export async function pin(o: AgentOptions & { why: string | null }): Promise<boolean> {
  await requireIdentity(o.board);
  const request = o.why === null ? { kind: 'unpin' as const, why: '' } : { kind: 'pin' as const, why: o.why };
  return ask(o, request, async () => {
    // Nothing else is to be done for it than to remember it.
    const store = await openState(boardPaths(o.board).agent);
    await store.save({ pinned: o.why === null ? null : { why: o.why, at: Date.now() } });
  });
}

async function ask(
  o: AgentOptions,
  request: Parameters<typeof leaveRequest>[1],
  alone: () => Promise<void> = async () => void (await runOnce(o)),
): Promise<boolean> {
  const { agent } = boardPaths(o.board);
  if (await knock(agent)) {
    await leaveRequest(agent, request);
    await knock(agent);
    return true;
  }
  if (request.kind === 'rollback') await leaveRequest(agent, request);
  await alone();
  return false;
}
