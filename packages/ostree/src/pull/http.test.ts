import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer as createSecureServer } from 'node:https';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parseCookies } from '../http/cookies.ts';
import { startServer } from '../testing/http.ts';
import { noise } from '../testing/sample-repo.ts';
import { scratchFolder } from '../testing/scratch.ts';
import { type HttpOptions, HttpSource, readBody } from './http.ts';

const LIMIT = 100_000;

/** A server below HTTP: it is given each request's head, and writes whatever it likes. */
async function startRaw(
  t: TestContext,
  answer: (socket: Socket, head: string, count: number) => void,
): Promise<string> {
  const sockets = new Set<Socket>();
  let count = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    let text = '';
    socket.on('data', (data) => {
      text += data.toString('latin1');
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const head = text.slice(0, end);
        text = text.slice(end + 4);
        answer(socket, head, count++);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function open(t: TestContext, urls: string | string[], options: HttpOptions = {}, contentUrls?: string[]): HttpSource {
  const source = new HttpSource(urls, { retries: 0, stallSeconds: 20, ...options }, { contentUrls });
  t.after(() => source.close());
  return source;
}

const ok = (body: string, ...headers: string[]) =>
  ['HTTP/1.1 200 OK', `Content-Length: ${Buffer.byteLength(body)}`, ...headers, '', body].join('\r\n');

test('answers in every form of HTTP/1 are read', async (t) => {
  const forms: Record<string, (socket: Socket) => void> = {
    '/length': (socket) => socket.write(ok('hello')),
    '/chunks': (socket) =>
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n'),
    '/close': (socket) => socket.end('HTTP/1.1 200 OK\r\n\r\nhello'),
    '/1.0': (socket) => socket.end('HTTP/1.0 200 OK\r\n\r\nhello'),
    '/interim': (socket) => socket.write(`HTTP/1.1 102 Processing\r\n\r\n${ok('hello')}`),
    '/drip': (socket) => {
      const answer = ok('hello');
      for (let at = 0; at < answer.length; at++) setTimeout(() => socket.write(answer[at]!), 2 * at);
    },
  };
  const url = await startRaw(t, (socket, head) => forms[head.split(' ')[1]!]!(socket));
  const source = open(t, url);
  for (const form of Object.keys(forms)) {
    assert.equal(String(await source.bytes(form.slice(1), LIMIT)), 'hello', form);
  }
  const all = await Promise.all(Array.from({ length: 50 }, () => source.bytes('length', LIMIT)));
  assert.ok(all.every((data) => String(data) === 'hello'));
});

test('connections are used again, and at most eight at once', async (t) => {
  const seen = new Set<Socket>();
  const url = await startRaw(t, (socket) => {
    seen.add(socket);
    setTimeout(() => socket.write(ok('x')), 2);
  });
  const source = open(t, url);
  await Promise.all(Array.from({ length: 100 }, () => source.bytes('x', LIMIT)));
  assert.equal(seen.size, 8);
});

test('a kept connection that the server closes in the wrong moment is no error', async (t) => {
  let answered = 0;
  const url = await startRaw(t, (socket) => {
    if (answered++ % 2 === 1) socket.destroy();
    else socket.write(ok('x'));
  });
  const source = open(t, url);
  for (let round = 0; round < 4; round++) assert.equal(String(await source.bytes('x', LIMIT)), 'x');
});

test('what no server should say is an error that names the file, and hangs nothing', async (t) => {
  const lies: Record<string, (socket: Socket) => void> = {
    garbage: (socket) => socket.write('\x16\x03\x01\x02\x00'),
    silent: () => {},
    'closes at once': (socket) => socket.destroy(),
    'head without end': (socket) => {
      const more = () => {
        while (!socket.destroyed && socket.write(`X: ${'y'.repeat(1000)}\r\n`));
      };
      socket.write('HTTP/1.1 200 OK\r\n');
      socket.on('drain', more);
      more();
    },
    'too short': (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello'),
    'two answers': (socket) => socket.write(ok('hello') + ok('hello')),
    'two lengths': (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello'),
    compressed: (socket) => socket.write(ok('hello', 'Content-Encoding: gzip')),
    'not modified': (socket) => socket.write('HTTP/1.1 304 Not Modified\r\n\r\n'),
    'a part': (socket) => socket.write(ok('hello', 'Content-Range: bytes 0-4/9').replace('200', '206')),
    'redirected in circles': (socket) => socket.write(ok('', 'Location: /circle').replace('200', '302')),
    'redirected to a file': (socket) => socket.write(ok('', 'Location: file:///etc/passwd').replace('200', '302')),
    'an unknown status': (socket) => socket.write(ok('').replace('200', '418')),
  };
  for (const [name, lie] of Object.entries(lies)) {
    const source = open(t, await startRaw(t, lie), { stallSeconds: name === 'silent' ? 0.3 : 60 });
    const began = Date.now();
    if (name === 'two answers') {
      // The first is one: what follows it is never taken for the answer to something else.
      assert.equal(String(await source.bytes('a', LIMIT)), 'hello');
      assert.equal(String(await source.bytes('b', LIMIT)), 'hello');
      continue;
    }
    await assert.rejects(source.bytes('a-file', LIMIT), { code: 'network', message: /127\.0\.0\.1/ }, name);
    assert.ok(Date.now() - began < 30_000, name);
  }
});

test('a body without end is cut off, and one that nobody reads is not received', async (t) => {
  let written = 0;
  const url = await startRaw(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    const piece = Buffer.alloc(65_536);
    const more = () => {
      while (!socket.destroyed) {
        written += piece.length;
        if (!socket.write(piece)) break;
      }
    };
    socket.on('drain', more);
    more();
  });
  const source = open(t, url);
  await assert.rejects(source.bytes('x', LIMIT), { code: 'corrupt', message: /at most 100000/ });
  written = 0;
  await source.get('x', async (reply) => {
    reply.pause(true);
    await new Promise((resolve) => setTimeout(resolve, 200));
  });
  assert.ok(written < 50_000_000, `${written}`);
});

test('a large body is read piece by piece, however slowly', async (t) => {
  const data = noise(5_000_000);
  const url = await startServer(t, (_req, res) => void res.writeHead(200).end(data));
  const source = open(t, url);
  const pieces: Buffer[] = [];
  await source.get('x', async (reply) => {
    for await (const piece of reply.body) {
      if (pieces.length % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      pieces.push(piece);
    }
  });
  assert.ok(Buffer.concat(pieces).equals(data));
});

test('a broken connection goes on where it broke', async (t) => {
  const data = noise(50_000);
  const ranges: (string | undefined)[] = [];
  const url = await startRaw(t, (socket, head) => {
    const start = Number(/^range: bytes=(\d+)-/im.exec(head)?.[1] ?? 0);
    ranges.push(/^range: (.*)$/im.exec(head)?.[1]);
    assert.equal(start > 0, /^if-range: "v1"$/im.test(head));
    const part = data.subarray(start, start + 20_000);
    const left = data.length - start;
    const lines = start > 0 ? [`Content-Range: bytes ${start}-${data.length - 1}/${data.length}`] : [];
    socket.write(
      [`HTTP/1.1 ${start > 0 ? 206 : 200} OK`, `Content-Length: ${left}`, 'ETag: "v1"', ...lines, '', ''].join('\r\n'),
    );
    socket.end(part);
  });
  const received = await open(t, url, { retries: 5 }).bytes('x', LIMIT);
  assert.ok(received?.equals(data));
  assert.deepEqual(ranges, [undefined, 'bytes=20000-', 'bytes=40000-']);
  await assert.rejects(open(t, url).bytes('x', LIMIT), { message: /Transferred a partial file: .* 20000 of 50000/ });
});

test('each place is tried in turn, and one that fails comes last from then on', async (t) => {
  const asked: string[] = [];
  const place = (name: string, status: number) =>
    startServer(t, (_req, res, path) => {
      asked.push(`${name}${path}`);
      res.writeHead(status).end(name);
    });
  const [broken, empty, whole, content] = [
    await place('broken', 503),
    await place('empty', 404),
    await place('whole', 200),
    await place('content', 200),
  ];
  const source = open(t, ['http://127.0.0.1:9', broken, empty, whole], {}, [content]);
  assert.equal(String(await source.bytes('summary', LIMIT)), 'whole');
  assert.equal(String(await source.bytes('config', LIMIT)), 'whole');
  assert.equal(String(await source.bytes('objects/aa/b.commitmeta', LIMIT)), 'whole');
  for (const path of ['objects/aa/b.filez', 'objects/aa/b.commit', 'deltas/a/b/superblock', 'delta-indexes/a/b']) {
    assert.equal(String(await source.bytes(path, LIMIT)), 'content');
  }
  assert.deepEqual(asked.slice(0, 5), [
    'broken/summary',
    'empty/summary',
    'whole/summary',
    'empty/config',
    'whole/config',
  ]);
  await assert.rejects(open(t, [empty, broken]).bytes('x', LIMIT), { code: 'network', message: /503/ });
  assert.equal(await open(t, [empty, empty]).bytes('x', LIMIT), null);
});

test('who we are is told to the remote and nobody else', async (t) => {
  const seen: Record<string, string | undefined>[] = [];
  const answer = (req: { headers: object }) => seen.push(req.headers as Record<string, string>);
  const stranger = await startServer(t, (req, res) => {
    answer(req);
    res.end('x');
  });
  const url = await startServer(t, (req, res, path) => {
    answer(req);
    if (path === '/repo/away') res.writeHead(307, { location: `${stranger}/repo/away` }).end();
    else if (path === '/repo/near') res.writeHead(301, { location: 'far' }).end();
    else res.end('x');
  });
  const cookies = parseCookies(
    [
      '127.0.0.1\tFALSE\t/repo\tFALSE\t0\ta\tb',
      '127.0.0.1\tFALSE\t/rep\tFALSE\t0\twrong\tpath',
      '127.0.0.1\tFALSE\t/\tTRUE\t0\tonly\ttls',
      '127.0.0.1\tFALSE\t/\tFALSE\t1\tlong\tgone',
      'example.com\tTRUE\t/\tFALSE\t0\tother\thost',
    ].join('\n'),
  );
  const withPassword = url.replace('//', '//me:se%40cret@');
  const source = open(t, `${withPassword}/repo`, { headers: { 'X-Token': 't' }, userAgent: 'test/1', cookies });
  for (const path of ['here', 'near', 'away']) await source.bytes(path, LIMIT);
  const told = (one: Record<string, string | undefined>) => [
    one.authorization,
    one['x-token'],
    one.cookie,
    one['user-agent'],
  ];
  const all = [`Basic ${Buffer.from('me:se@cret').toString('base64')}`, 't', 'a=b', 'test/1'];
  assert.deepEqual(seen.slice(0, 4).map(told), [all, all, all, all]);
  // A host's cookies are for the host, on whatever port.
  assert.deepEqual(told(seen.at(-1)!), [undefined, undefined, 'a=b', 'test/1']);
  assert.ok(!`${source.base}`.includes('secret') && !`${source.base}`.includes('me'));
});

test('headers that would change how requests are told apart are refused', (t) => {
  const tries = [{ 'X\r\nY': 'z' }, { X: 'y\r\nHost: evil' }, { 'content-length': '5' }, { Host: 'x' }, { '': 'x' }];
  for (const headers of tries) {
    assert.throws(() => open(t, 'http://127.0.0.1:1', { headers: headers as unknown as Record<string, string> }), {
      code: 'invalid',
    });
  }
});

/** A proxy that passes on what it is asked to, if told who asks. */
async function startProxy(t: TestContext, seen: string[], allowed = true): Promise<string> {
  return startRaw(t, (socket, head) => {
    const [method = '', target = ''] = head.split(' ');
    seen.push(`${method} ${target} ${/^proxy-authorization: (.*)$/im.exec(head)?.[1] ?? ''}`.trim());
    if (!allowed) {
      socket.write('HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    if (method === 'CONNECT') {
      const [host, port] = target.split(':');
      const to = connect(Number(port), host);
      socket.removeAllListeners('data');
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      to.on('error', () => socket.destroy());
      socket.on('close', () => to.destroy());
      socket.pipe(to).pipe(socket);
    } else socket.write(ok('through the proxy'));
  });
}

test('requests go through a proxy, with TLS too', async (t) => {
  const folder = scratchFolder(t);
  const subject = ['-subj', '/CN=server', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2'];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  execFileSync('openssl', ['req', '-x509', ...curve, '-keyout', 'key.pem', '-out', 'cert.pem', ...subject], {
    cwd: folder,
    stdio: 'pipe',
  });
  const [key, cert] = [readFileSync(join(folder, 'key.pem')), readFileSync(join(folder, 'cert.pem'))];
  const secure = createSecureServer({ key, cert }, (_req, res) => void res.end('with TLS'));
  await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    secure.closeAllConnections();
    secure.close();
  });
  const port = (secure.address() as AddressInfo).port;
  const seen: string[] = [];
  const proxy = (await startProxy(t, seen)).replace('//', '//user:word@');
  const plain = open(t, 'http://nowhere.invalid/repo', { proxy });
  assert.equal(String(await plain.bytes('config', LIMIT)), 'through the proxy');
  const url = `https://127.0.0.1:${port}/repo`;
  const tls = open(t, url, { proxy, tls: { ca: cert } });
  assert.equal(String(await tls.bytes('config', LIMIT)), 'with TLS');
  const who = `Basic ${Buffer.from('user:word').toString('base64')}`;
  assert.deepEqual(seen, [`GET http://nowhere.invalid/repo/config ${who}`, `CONNECT 127.0.0.1:${port} ${who}`]);
  await assert.rejects(open(t, url, { proxy }).bytes('config', LIMIT), { message: /certificate is not trusted/ });
  const careless = open(t, url, { tls: { permissive: true } });
  assert.equal(String(await careless.bytes('config', LIMIT)), 'with TLS');
  const refusing = await startProxy(t, [], false);
  await assert.rejects(open(t, url, { proxy: refusing }).bytes('config', LIMIT), {
    code: 'network',
    message: /the proxy .* does not connect to 127\.0\.0\.1:\d+: 407/,
    hint: /credentials/,
  });
  await assert.rejects(open(t, url, { proxy: 'socks5://x' }).bytes('config', LIMIT), { code: 'unsupported' });
});

test('a connection that cannot be made in time is given up', async (t) => {
  const silent = await startRaw(t, () => {});
  const source = open(t, silent.replace('http:', 'https:'), { stallSeconds: 0.2 });
  await assert.rejects(source.bytes('x', LIMIT), { code: 'network', message: /no connection in 0\.2 s/ });
});

test('closing ends what is under way with the reason', async (t) => {
  const url = await startRaw(t, () => {});
  const reason = new DOMException('enough', 'AbortError');
  const controller = new AbortController();
  const source = open(t, url, { signal: controller.signal, retries: 5 });
  const waiting = [source.bytes('a', LIMIT), source.get('b', (reply) => readBody(reply, LIMIT))];
  setTimeout(() => controller.abort(reason), 50);
  for (const one of waiting) await assert.rejects(one, reason);
  await assert.rejects(source.bytes('c', LIMIT), reason);
});

test('sizes are asked for without the file', async (t) => {
  const url = await startServer(t, (req, res, path) => {
    if (path === '/none') res.writeHead(404).end();
    else res.writeHead(200, { 'content-length': 1234 }).end(req.method === 'HEAD' ? undefined : Buffer.alloc(1234));
  });
  const source = open(t, url);
  assert.deepEqual([await source.size('x'), await source.size('none'), await source.size('y')], [1234, null, 1234]);
});
