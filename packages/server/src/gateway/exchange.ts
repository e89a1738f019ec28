import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

/** Largest body that a device may send: the limit of the protocol. */
const BODY_LIMIT = 100 * 1024;

/** A refusal or failure as devices see it. Anything else that is thrown becomes a 500 without details. */
export class GatewayRefusal extends Error {
  override readonly name = 'GatewayRefusal';
  readonly status: number;
  readonly code: string;
  readonly hint: string | undefined;

  constructor(status: number, code: string, message: string, hint?: string) {
    super(message);
    this.status = status;
    this.code = code;
    this.hint = hint;
  }
}

export function sendJson(res: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  res.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
  });
  res.end(res.req.method === 'HEAD' ? undefined : text);
}

export function sendEmpty(res: ServerResponse, status = 204): void {
  res.writeHead(status, { 'cache-control': 'no-store' }).end();
}

export function sendRefusal(res: ServerResponse, refusal: GatewayRefusal): void {
  if (res.headersSent) {
    res.destroy();
    return;
  }
  // What is left of a refused body must not be taken for the next request.
  if (!res.req.complete) res.setHeader('connection', 'close');
  sendJson(res, refusal.status, {
    error: {
      code: refusal.code,
      message: refusal.message,
      ...(refusal.hint === undefined ? {} : { hint: refusal.hint }),
      requestId: randomUUID(),
    },
  });
}

/**
 * The request's body as text.
 *
 * @throws GatewayRefusal 413 `too-large` as soon as more than the limit is announced or has arrived, 400
 * `invalid-request` when it is not UTF-8.
 */
export async function readBody(req: IncomingMessage, limit = BODY_LIMIT): Promise<string> {
  const tooLarge = new GatewayRefusal(413, 'too-large', `the body is larger than ${limit} bytes`);
  if (Number(req.headers['content-length'] ?? 0) > limit) throw tooLarge;
  const chunks: Buffer[] = [];
  let size = 0;
  // Read by events: leaving a `for await` would destroy the socket before the refusal is written.
  await new Promise<void>((resolve, reject) => {
    req.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) {
        req.pause();
        reject(tooLarge);
      } else chunks.push(chunk);
    });
    req.on('end', resolve);
    req.on('error', reject);
    req.on('close', () => reject(new GatewayRefusal(400, 'invalid-request', 'the body ended early')));
  });
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new GatewayRefusal(400, 'invalid-request', 'the body is not UTF-8 text');
  }
}

export async function readJson(req: IncomingMessage, limit = BODY_LIMIT): Promise<unknown> {
  const text = await readBody(req, limit);
  try {
    return JSON.parse(text);
  } catch {
    throw new GatewayRefusal(400, 'invalid-json', 'the body is not valid JSON');
  }
}
