import assert from 'node:assert/strict';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { until } from '@treeline/ostree/testing/until.ts';
import { limitConnections, type Patience, serverOptions } from './limits.ts';

const QUICK: Patience = { headers: 1200, idle: 2000, silence: 60_000, body: { ms: 200, bytes: 1000 } };

async function start(t: TestContext, o: { most?: number; patience?: Patience; handle?: RequestListener } = {}) {
  const { most = 100, patience = QUICK, handle } = o;
  const readAll: RequestListener = (req, res) => {
    req.resume().on('end', () => res.end('whole\n'));
  };
  const server: Server = createServer(serverOptions(patience), handle ?? readAll);
  limitConnections(server, { most, isProxy: () => false, patience });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  /** A connection, and what came from it until it ended. */
  const dial = (): { socket: Socket; ended: Promise<string> } => {
    const socket = connect(port, '127.0.0.1');
    t.after(() => socket.destroy());
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    socket.on('error', () => {});
    return { socket, ended: new Promise((resolve) => socket.on('close', () => resolve(text))) };
  };
  return { server, dial };
}

/** Sends text again and again until the connection ends. */
async function drip(socket: Socket, text: string, ms: number): Promise<void> {
  while (!socket.destroyed && socket.writable) {
    socket.write(text);
    await setTimeout(ms);
  }
}

const within = <T>(ms: number, work: Promise<T>): Promise<T | 'still open'> =>
  Promise.race([work, setTimeout(ms, 'still open' as const, { ref: false })]);

test('who connects and says nothing, or drips headers, is hung up on', async (t) => {
  const { dial } = await start(t);
  const silent = dial();
  const slow = dial();
  slow.socket.write('GET / HTTP/1.1\r\n');
  void drip(slow.socket, 'x-a: b\r\n', 50);
  assert.match(await within(30_000, silent.ended), /^$|408/);
  assert.match(await within(30_000, slow.ended), /^$|408/);
});

test('a connection that waits between two requests is kept for a while', async (t) => {
  const { dial } = await start(t);
  const { socket, ended } = dial();
  const ask = () => socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
  ask();
  await setTimeout(150);
  ask();
  await setTimeout(150);
  const text = await within(30_000, ended);
  assert.equal(text.split('HTTP/1.1 200').length - 1, 2, text);
});

test('a body that trickles in is cut off; one that flows may take as long as it takes', async (t) => {
  const { dial } = await start(t);
  const head = 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 20000\r\n\r\n';
  const slow = dial();
  slow.socket.write(head);
  void drip(slow.socket, 'x', 20);
  assert.match(await within(30_000, slow.ended), /^HTTP\/1\.1 408/);

  const steady = dial();
  steady.socket.write(head);
  for (let sent = 0; sent < 20_000; sent += 1000) {
    steady.socket.write('x'.repeat(1000));
    await setTimeout(50);
  }
  await setTimeout(50);
  steady.socket.end();
  assert.match(await within(30_000, steady.ended), /^HTTP\/1\.1 200/);
});

test('so is one that nobody waits for any more, after the answer', async (t) => {
  const { dial } = await start(t, {
    handle: (_, res) => void res.writeHead(401).end(),
  });
  const { socket, ended } = dial();
  socket.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n');
  void drip(socket, 'x', 20);
  assert.match(await within(30_000, ended), /^HTTP\/1\.1 401/);
});

test('a server that does not read is not held against the sender', async (t) => {
  const { dial } = await start(t, {
    handle(req, res) {
      void setTimeout(1000).then(() => req.resume().on('end', () => res.end('late\n')));
    },
  });
  const { socket, ended } = dial();
  socket.write('POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1000000\r\n\r\n');
  socket.write('x'.repeat(1_000_000));
  assert.match(await within(30_000, ended), /^HTTP\/1\.1 200[\s\S]*late/);
});

test('there are no more connections than are allowed; when some end others get in', async (t) => {
  const { server, dial } = await start(t, { most: 5, patience: { ...QUICK, headers: 60_000 } });
  let dropped = 0;
  server.on('drop', () => {
    dropped += 1;
  });
  const held = Array.from({ length: 5 }, dial);
  await Promise.all(held.map(({ socket }) => new Promise((resolve) => socket.once('connect', resolve))));
  await setTimeout(100);
  const refused = dial();
  assert.equal(await within(30_000, refused.ended), '');
  assert.equal(dropped, 1);
  for (const { socket } of held) socket.destroy();
  const isFree = () => new Promise<boolean>((resolve) => server.getConnections((_, count) => resolve(count === 0)));
  await until(isFree, 'the end of the five');
  const { socket, ended } = dial();
  socket.write('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  assert.match(await within(30_000, ended), /^HTTP\/1\.1 200/);
});

test('one address may have a quarter of them; proxies and this machine may have all', async (t) => {
  const { server } = await start(t, { most: 8 });
  const connection = (remoteAddress: string) => {
    const listeners = new Map<string, () => void>();
    const socket = {
      ...{ remoteAddress, destroyed: false },
      destroy() {
        socket.destroyed = true;
      },
      once: (event: string, listener: () => void) => listeners.set(event, listener),
      close: () => listeners.get('close')?.(),
    };
    for (const listener of server.listeners('connection').slice(1)) listener.call(server, socket);
    return socket;
  };
  const first = connection('192.0.2.1');
  assert.ok(!first.destroyed && !connection('::ffff:192.0.2.1').destroyed);
  assert.ok(connection('192.0.2.1').destroyed);
  assert.ok(!connection('192.0.2.2').destroyed);
  for (let i = 0; i < 8; i += 1) assert.ok(!connection('127.0.0.1').destroyed);
  first.close();
  assert.ok(!connection('192.0.2.1').destroyed);
  // One customer's IPv6 network counts as one address.
  connection('2001:db8::1');
  connection('2001:db8::2');
  assert.ok(connection('2001:db8::3').destroyed);
});
