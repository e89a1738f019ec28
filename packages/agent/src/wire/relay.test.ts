import assert from 'node:assert/strict';
import { createServer, get, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { download, type Source } from './download.ts';
import { openRelay } from './relay.ts';
import { createThrottle } from './throttle.ts';

const BODY = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7) % 251));

async function serve(t: TestContext, handle: RequestListener): Promise<Source> {
  const server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { base: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, headers: () => ({}), stallMs: 2000 };
}

async function fetchAll(source: Source, from = 0): Promise<{ status: number; body: Buffer }> {
  const chunks: Buffer[] = [];
  const status = await download(source, '/objects/x', {
    ...{ throttle: createThrottle(null), signal: new AbortController().signal, from },
    async write(chunk) {
      chunks.push(chunk);
    },
  });
  return { status, body: Buffer.concat(chunks) };
}

const rangeOf = (header: string | undefined) => Number(/^bytes=(\d+)-$/.exec(header ?? '')?.[1] ?? 0);

test('a connection that breaks off, and one that stalls, is taken up where it was', async (t) => {
  const asked: number[] = [];
  const source = await serve(t, (req, res) => {
    const from = rangeOf(req.headers.range);
    asked.push(from);
    res.writeHead(from === 0 ? 200 : 206, { 'content-length': BODY.length - from });
    const piece = BODY.subarray(from, from + 110_000);
    res.write(piece, () => {
      if (from + piece.length === BODY.length) res.end();
      // The first time it breaks off, the second time nothing more comes.
      else if (from === 0) setTimeout(() => res.destroy(), 50);
    });
  });
  const { status, body } = await fetchAll(source);
  assert.equal(status, 200);
  assert.ok(body.equals(BODY));
  assert.deepEqual(asked, [0, 110_000, 220_000]);
});

test('a server that knows no ranges is read from the beginning, and nothing comes twice', async (t) => {
  const source = await serve(t, (_, res) => res.end(BODY));
  const { body } = await fetchAll(source, 1234);
  assert.ok(body.equals(BODY.subarray(1234)));
});

test('one that never answers is given up, and a refusal is passed on at once', async (t) => {
  let requests = 0;
  const silent = await serve(t, () => {
    requests += 1;
  });
  await assert.rejects(fetchAll({ ...silent, stallMs: 400 }), { code: 'unreachable', message: /stopped answering/ });
  assert.ok(requests >= 3 && requests <= 5, `${requests} attempts`);
  const refusing = await serve(t, (_, res) => res.writeHead(404).end('no'));
  assert.equal((await fetchAll(refusing)).status, 404);
});

test('the relay counts, limits, and serves nobody else', async (t) => {
  const source = await serve(t, (req, res) => {
    if (req.url === '/objects/aa/b.filez') res.writeHead(200, { 'content-length': BODY.length }).end(BODY);
    else res.writeHead(404).end();
  });
  const counted = { bytes: 0, files: [] as string[] };
  const relay = await openRelay({
    ...{ source, throttle: createThrottle(200_000) },
    onBytes: (bytes) => {
      counted.bytes += bytes;
    },
    onFile: (path) => counted.files.push(path),
  });
  t.after(() => relay.close());
  const cookie = relay.cookie.split('\t').slice(-2).join('=');
  const ask = (path: string, headers: Record<string, string>) =>
    new Promise<{ status: number; bytes: number }>((resolve, reject) => {
      get(`${relay.url}${path}`, { headers, agent: false }, (res) => {
        let bytes = 0;
        res.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
        });
        res.on('end', () => resolve({ status: res.statusCode ?? 0, bytes }));
      }).on('error', reject);
    });
  assert.deepEqual(await ask('/objects/aa/b.filez', {}), { status: 403, bytes: 0 });
  assert.deepEqual(await ask('/objects/aa/b.filez', { cookie: 'treeline=guess' }), { status: 403, bytes: 0 });
  const began = Date.now();
  assert.deepEqual(await ask('/objects/aa/b.filez', { cookie }), { status: 200, bytes: BODY.length });
  const seconds = (Date.now() - began) / 1000;
  assert.ok(seconds > 1 && seconds < 60, `${seconds} s for 1.5 s worth of bytes`);
  assert.deepEqual(await ask('/summary', { cookie }), { status: 404, bytes: 0 });
  assert.deepEqual(counted, { bytes: BODY.length, files: ['/objects/aa/b.filez'] });
});
