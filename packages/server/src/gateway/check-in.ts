import type { IncomingMessage } from 'node:http';
import type { CheckIn } from '../devices/registry.ts';

const CHECKSUM = /^[0-9a-f]{64}$/;
/** A pull makes thousands of requests that say the same; each durable write costs an fsync. */
const REPEAT_AFTER = 15_000;

/** What the `x-ats-*` headers of a request say about the device. Values that make no sense are left out. */
export function readCheckIn(req: IncomingMessage): CheckIn & { tags: string[] } {
  const header = (name: string) => {
    const value = req.headers[name];
    return typeof value === 'string' && value.length <= 1024 && value !== '' ? value : undefined;
  };
  const commit = header('x-ats-ostreehash');
  return {
    target: header('x-ats-target'),
    commit: commit !== undefined && CHECKSUM.test(commit) ? commit : undefined,
    address: req.socket.remoteAddress?.replace(/^::ffff:(?=\d+\.)/, ''),
    tags: (header('x-ats-tags') ?? '')
      .split(',')
      .map((tag) => tag.trim())
      .filter((tag) => tag !== ''),
  };
}

/** Says whether a check-in is worth writing down: it is new, or the last one is a while ago. */
export function createCheckInFilter(now: () => number = Date.now): (id: string, seen: CheckIn) => boolean {
  const last = new Map<string, { at: number; text: string }>();
  return (id, seen) => {
    const text = JSON.stringify([seen.target, seen.commit, seen.address]);
    const before = last.get(id);
    if (before !== undefined && before.text === text && now() - before.at < REPEAT_AFTER) return false;
    last.set(id, { at: now(), text });
    return true;
  };
}
