/** Program: makes one static delta of a repository, `delta-program.ts REPO FROM TO`, and tells its parent how that went. */
import { constants, setPriority } from 'node:os';
import { generateDelta, openRepo } from '@treeline/ostree';
import { messageOf } from '../errors.ts';
import type { DeltaOutcome } from './delta-process.ts';

const [path = '', from = '', to = ''] = process.argv.slice(2);
const stopping = new AbortController();
process.on('SIGTERM', () => stopping.abort());
// The server is gone, and so is whoever wants it.
process.on('disconnect', () => process.exit(1));
try {
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
} catch {
  // it is only a kindness to the server
}

let outcome: DeltaOutcome;
try {
  const { size } = await generateDelta(await openRepo(path), { from, to, signal: stopping.signal });
  outcome = { bytes: size };
} catch (error) {
  outcome = { error: messageOf(error) };
}
process.send?.(outcome, () => process.exit('bytes' in outcome ? 0 : 1));
