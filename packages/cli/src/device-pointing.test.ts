import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { device, newCommit, release } from './testing/answers.ts';
import { treeline } from './testing/command.ts';
import { developer } from './testing/developer.ts';
import { type Answer, standIn } from './testing/stand-in.ts';

const pointer = {
  url: 'http://192.0.2.9:8422',
  ref: 'dev/ana/robot',
  commit: newCommit,
  by: 'ana',
  createdAt: '2026-11-01T12:00:00.000Z',
  expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
};
const everything: Record<string, Answer> = {
  'PUT devices/board-1/pointer': pointer,
  'DELETE devices/board-1/pointer': (_, response) => void response.writeHead(204).end(),
  'GET releases': { releases: [release(2), release(1)] },
};

/** A repository that answers for one ref, and refuses another address's ref. */
async function repository() {
  const server = createServer((request, response) => {
    if (request.url === '/repo/refs/heads/dev/ana/robot') response.end(`${newCommit}\n`);
    else if (request.url === '/repo/refs/heads/closed') response.writeHead(403).end('no\n');
    else if (request.url === '/repo/refs/heads/page') response.end('<html>a page</html>');
    else response.writeHead(404).end('none\n');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/repo`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test('a device is pointed at what a ref names in the repository, by its checksum', async () => {
  await using server = await standIn(everything);
  await using repo = await repository();
  const point = (...args: string[]) => treeline(['device', 'point', 'board-1', ...args, ...server.args]);
  const { code, stdout, stderr } = await point('--at', `${repo.url}/`, '--ref', 'dev/ana/robot', '--for', '90m');
  assert.deepEqual([code, stderr], [0, '']);
  assert.deepEqual(server.requests.at(-1)?.body, {
    url: repo.url,
    commit: newCommit,
    ref: 'dev/ana/robot',
    seconds: 5400,
  });
  assert.match(stdout, /^board-1 takes dev\/ana\/robot, bbbbbbbbbb from http:\/\/192\.0\.2\.9:8422 at its next look/);
  assert.match(stdout, /^Back to its channel before that: treeline device back board-1$/m);

  await point('--at', 'http://192.0.2.9:8422', '--commit', newCommit);
  assert.deepEqual(server.requests.at(-1)?.body, { url: 'http://192.0.2.9:8422', commit: newCommit });

  const asked = server.requests.length;
  for (const [args, expected] of [
    [['--at', repo.url, '--ref', 'none'], 5],
    [['--at', repo.url, '--ref', 'page'], 5],
    [['--at', repo.url, '--ref', 'closed'], 4],
    [['--at', 'http://127.0.0.1:9', '--ref', 'dev/ana/robot'], 3],
    [['--at', 'robot', '--commit', newCommit], 2],
    [['--at', repo.url], 2],
    [['--at', repo.url, '--ref', 'a', '--commit', newCommit], 2],
    [['--commit', newCommit], 2],
  ] as const) {
    assert.equal((await point(...args)).code, expected, args.join(' '));
  }
  assert.equal(server.requests.length, asked, 'the server hears of none of these');
});

test('a commit of one’s own may be named by ref or shortened, where only the device reaches the address', async (t) => {
  const dev = await developer(t);
  const work = await dev.checkout('work');
  writeFileSync(join(work, 'usr/etc/speed'), 'fast\n');
  const { commit } = await dev.json<{ commit: string }>('commit', work, '-b', 'dev/ana/robot');
  await using server = await standIn(everything);
  const point = (name: string) =>
    dev.run(['device', 'point', 'board-1', '--at', 'http://10.0.2.2:8422', '--commit', name, ...server.args]);
  for (const name of ['dev/ana/robot', commit.slice(0, 10)]) {
    assert.equal((await point(name)).code, 0);
    assert.deepEqual(server.requests.at(-1)?.body, { url: 'http://10.0.2.2:8422', commit });
  }
  const { code, stderr } = await point('dev/ana/other');
  assert.equal(code, 5);
  assert.match(stderr, /has no commit dev\/ana\/other/);
  const args = ['device', 'point', 'board-1', '--at', 'http://10.0.2.2:8422', '--commit', 'short', ...server.args];
  assert.equal((await treeline(args)).code, 5);
});

test('a device is sent back', async () => {
  await using server = await standIn(everything);
  const { code, stdout } = await treeline(['device', 'back', 'board-1', ...server.args]);
  assert.equal(code, 0);
  assert.match(stdout, /^board-1 goes back/);
  assert.deepEqual(
    [server.requests.at(-1)?.method, server.requests.at(-1)?.path],
    ['DELETE', 'devices/board-1/pointer'],
  );
});

test('the list of devices shows which are pointed where, and whether they are there', async () => {
  const devices = [
    device('board-1', { pointer, current: newCommit }),
    device('board-2', { pointer, current: 'a'.repeat(64) }),
    device('board-3', { pointer, badReleases: [{ commit: newCommit, reason: 'no', at: pointer.createdAt }] }),
  ];
  await using server = await standIn({
    ...everything,
    'GET devices': { devices },
    'GET devices/board-1': { ...device('board-1', { pointer, fetchedFrom: pointer.url }), events: [], inventory: {} },
  });
  const { stdout } = await treeline(['device', ...server.args]);
  const pointed =
    'pointed at dev/ana/robot bbbbbbbbbb of http://192\\.0\\.2\\.9:8422 until (?:\\S+ )?\\d\\d:\\d\\d by ana';
  assert.match(stdout, new RegExp(`^board-1 .*${pointed}$`, 'm'));
  assert.match(stdout, new RegExp(`^board-2 .*${pointed}, not there yet$`, 'm'));
  assert.match(stdout, new RegExp(`^board-3 .*${pointed}, where it failed$`, 'm'));
  const one = await treeline(['device', 'show', 'board-1', ...server.args]);
  assert.match(one.stdout, /^fetched from +http:\/\/192\.0\.2\.9:8422$/m);
  assert.match(one.stdout, /^address +192\.0\.2\.7$/m);
});
