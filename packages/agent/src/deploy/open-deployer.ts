import { boardPaths, type Identity } from '../board/identity.ts';
import type { Checkpoint, Deployer } from './deployer.ts';
import { createOstreeSysroot } from './ostree-sysroot/ostree-sysroot.ts';
import type { Remote } from './remote.ts';

/** The deployer that a board was enrolled with. */
export async function openDeployer(
  board: string,
  o: {
    identity: Identity;
    remote: Remote;
    verify?: (() => boolean) | undefined;
    onWarning?: ((message: string) => void) | undefined;
    checkpoint?: Checkpoint | undefined;
  },
): Promise<Deployer> {
  const { deployer } = o.identity;
  if (deployer.kind === 'virtual-board') {
    // Loaded when it is asked for: it brings the whole engine, which a device neither has nor needs.
    const { createVirtualBoard } = await import('./virtual-board/virtual-board.ts');
    return createVirtualBoard({ root: boardPaths(board).sysroot, remote: o.remote, checkpoint: o.checkpoint });
  }
  return createOstreeSysroot({
    sysroot: deployer.sysroot,
    os: deployer.os,
    agentDir: boardPaths(board).agent,
    remote: o.remote,
    verify: o.verify,
    onWarning: o.onWarning,
    checkpoint: o.checkpoint,
  });
}
