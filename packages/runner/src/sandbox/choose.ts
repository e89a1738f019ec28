import { openBubblewrap } from './bubblewrap.ts';
import { openUnsandboxed } from './none.ts';
import type { Sandbox } from './sandbox.ts';

/**
 * The sandbox that jobs of this runner run in. Without a usable bubblewrap this throws RunnerError `no-sandbox`: running
 * jobs without a sandbox is something to ask for, never something to fall back on.
 */
export async function chooseSandbox(unsandboxed: boolean): Promise<Sandbox> {
  return unsandboxed ? openUnsandboxed() : await openBubblewrap();
}
