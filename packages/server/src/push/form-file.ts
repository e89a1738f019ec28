import type { IncomingMessage } from 'node:http';
import { ServerError } from '../errors.ts';

/** Headers of a part: more than anybody sends. */
const MAX_HEAD_BYTES = 16 * 1024;

/**
 * The bytes of a file that a request brings: its body as it is, or, as older versions of garage-push send it, the first
 * file of a form (multipart/form-data, RFC 7578).
 *
 * @throws ServerError `invalid-request` for a form that is none, or is cut short
 */
export function fileOf(req: IncomingMessage): AsyncIterable<Buffer> {
  const type = req.headers['content-type'] ?? '';
  if (!/^multipart\/form-data/i.test(type)) return req as AsyncIterable<Buffer>;
  const [, quoted, plain] = /;\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(type) ?? [];
  const boundary = quoted ?? plain;
  if (boundary === undefined) throw malformed('it does not say what its boundary is');
  return formFile(req as AsyncIterable<Buffer>, boundary);
}

/** The content of the first part that is a file, or whatever part there is. */
async function* formFile(source: AsyncIterable<Buffer>, boundary: string): AsyncGenerator<Buffer> {
  // A line break belongs to the boundary after it, so that the first one is given one.
  const delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1');
  let held: Buffer = Buffer.from('\r\n');
  let state: 'before' | 'head' | 'file' | 'after' = 'before';
  for await (const chunk of source) {
    if (state === 'after') continue;
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    if (state === 'before') {
      const at = held.indexOf(delimiter);
      if (at < 0 && held.length > MAX_HEAD_BYTES) throw malformed('it does not begin with its boundary');
      if (at < 0) continue;
      held = held.subarray(at + delimiter.length);
      state = 'head';
    }
    if (state === 'head') {
      const end = held.indexOf('\r\n\r\n');
      if (end < 0 && held.length > MAX_HEAD_BYTES) throw malformed('a part of it has headers of absurd length');
      if (end < 0) continue;
      held = held.subarray(end + 4);
      state = 'file';
    }
    const end = held.indexOf(delimiter);
    if (end >= 0) {
      yield held.subarray(0, end);
      held = Buffer.alloc(0);
      state = 'after';
      continue;
    }
    // The boundary may have begun.
    const sure = Math.max(0, held.length - delimiter.length);
    if (sure > 0) yield held.subarray(0, sure);
    held = held.subarray(sure);
  }
  if (state !== 'after') throw malformed('it is cut short');
}

function malformed(why: string): ServerError {
  return new ServerError('invalid-request', `the form is malformed: ${why}`);
}
