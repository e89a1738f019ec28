import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { DeviceChange, DeviceDifference } from '@treeline/server';
import { type Developer, developer } from './testing/developer.ts';
import { standIn } from './testing/stand-in.ts';

const skip = process.getuid?.() === 0 ? false : 'owners need root';

const nothing = { differs: [], mode: null, uid: null, gid: null, size: null, target: null, xattrs: null };
const removed = (path: string, type: DeviceChange['type']): DeviceChange => ({
  ...nothing,
  ...{ path, change: 'removed', type, content: null, omitted: null },
});
const file = (path: string, text: string, more: Partial<DeviceChange> = {}): DeviceChange => ({
  ...nothing,
  ...{ path, change: 'added', type: 'file', mode: 0o644, uid: 0, gid: 0, size: text.length, xattrs: [] },
  ...{ content: Buffer.from(text).toString('base64'), omitted: null, ...more },
});
const changed = (differs: DeviceChange['differs']) => ({ change: 'changed', differs }) as const;

/** A server whose device robot-1 has these changes to what it runs. */
function answering(dev: Developer, changes: readonly DeviceChange[], more: Partial<DeviceDifference> = {}) {
  const answer: DeviceDifference = {
    ...{ state: 'answered', by: 'ana', askedAt: null, answeredAt: null, commit: dev.system, complete: true },
    ...{ changes: [...changes], ...more },
  };
  return standIn({ 'POST devices/robot-1/difference': answer, 'GET devices/robot-1/difference': answer });
}

/** Everything that can be other about a board. */
const CHANGES: readonly DeviceChange[] = [
  file('/etc/machine-id', '0123456789abcdef', changed(['content'])),
  file('/etc/speed', 'fast\n', changed(['content'])),
  file('/etc/wifi.key', '', { mode: 0o600, size: 20, content: null, omitted: 'secret' }),
  removed('/etc/hostname', 'file'),
  file('/usr/bin/id', '', { ...changed(['mode']), mode: 0o4755, size: 48_000, content: null, omitted: 'large' }),
  file('/usr/bin/sudo', 'pretends\n', { ...changed(['owner']), mode: 0o4755, uid: 7, gid: 8 }),
  { ...file('/usr/bin/sh', '', changed(['target'])), type: 'symlink', mode: 0o777, target: 'cat', content: null },
  removed('/usr/lib/modules', 'folder'),
  { ...file('/usr/share/doc', '', changed(['type'])), type: 'folder', mode: 0o750, size: null, content: null },
  file('/usr/share/doc/read', 'me\n', {
    xattrs: [{ name: 'user.note', value: Buffer.from('a=b').toString('base64') }],
  }),
];

test('what differs is shown, each with how', async (t) => {
  const dev = await developer(t);
  await using server = await answering(dev, CHANGES, { complete: false });
  const shown = await dev.does('device', 'shell-diff', 'robot-1', ...server.args);
  assert.equal(
    shown,
    `M /etc/machine-id  16 B
M /etc/speed  5 B
+ /etc/wifi.key  20 B  (secret: stays there)
- /etc/hostname
M /usr/bin/id  48 kB  mode 4755  (too large)
M /usr/bin/sudo  9 B  owner 7:8
M /usr/bin/sh -> cat
- /usr/lib/modules
M /usr/share/doc  now a folder
+ /usr/share/doc/read  3 B
There is more: the device told only the first of its changes.
`,
  );
  await using quiet = await answering(dev, []);
  assert.equal(
    await dev.does('device', 'shell-diff', 'robot-1', ...quiet.args),
    'Nothing was changed on robot-1 by hand.\n',
  );
});

test('as root, a checkout with the changes in it is committed as the tree that the board has', { skip }, async (t) => {
  const dev = await developer(t);
  // The board: the same by hand. What it keeps to itself is left out.
  const board = join(dev.folder, 'board');
  await dev.does('checkout', dev.system, board);
  const at = (path: string) => join(board, path);
  writeFileSync(at('usr/etc/speed'), 'fast\n');
  for (const path of ['usr/etc/hostname', 'usr/lib/modules', 'usr/bin/sh', 'usr/share/doc'])
    rmSync(at(path), { recursive: true });
  chmodSync(at('usr/bin/id'), 0o4755);
  execFileSync('chown', ['7:8', at('usr/bin/sudo')]);
  chmodSync(at('usr/bin/sudo'), 0o4755);
  symlinkSync('cat', at('usr/bin/sh'));
  mkdirSync(at('usr/share/doc'));
  chmodSync(at('usr/share/doc'), 0o750);
  writeFileSync(at('usr/share/doc/read'), 'me\n');
  execFileSync('setfattr', ['-n', 'user.note', '-v', 'a=b', at('usr/share/doc/read')]);
  await dev.does('commit', board, '-b', 'dev/the/board');

  const work = join(dev.folder, 'work');
  await dev.does('checkout', dev.system, work);
  await using server = await answering(dev, CHANGES);
  const said = await dev.does('device', 'shell-diff', 'robot-1', '--into', work, ...server.args);
  assert.match(said, /^6 paths written and 2 removed in /m);
  assert.match(said, /Left on the board: \/etc\/machine-id \(each machine has its own\), \/etc\/wifi\.key \(secret/);
  assert.doesNotMatch(said, /Not carried over/);
  await dev.does('commit', work, '-b', 'dev/brought');
  assert.match(await dev.does('diff', 'dev/the/board', 'dev/brought'), /^No file differs/);
  assert.equal(existsSync(join(work, 'usr/etc/machine-id')), false);
});

test('an ordinary user’s checkout takes content, permissions and removals, and it is said what it cannot take', async (t) => {
  const dev = await developer(t);
  const work = await dev.checkout('work');
  await using server = await answering(dev, CHANGES);
  const into = ['device', 'shell-diff', 'robot-1', '--into', work, ...server.args];
  assert.match(await dev.does(...into), /Not carried over: owners/);
  assert.equal(readFileSync(join(work, 'usr/etc/speed'), 'utf8'), 'fast\n');
  assert.equal(readlinkSync(join(work, 'usr/bin/sh')), 'cat');
  assert.ok(!existsSync(join(work, 'usr/lib/modules')) && !existsSync(join(work, 'usr/etc/hostname')));
  assert.equal(statSync(join(work, 'usr/share/doc')).mode & 0o7777, 0o750);
  const { changes } = await dev.json<{ changes: { kind: string; path: string }[] }>('commit', work);
  assert.deepEqual(
    changes.map(({ kind, path }) => `${kind} ${path}`),
    [
      'modified /usr/bin/sh',
      'removed /usr/etc/hostname',
      'modified /usr/etc/speed',
      ...['', '/6.1'].map((name) => `removed /usr/lib/modules${name}`),
      'modified /usr/share/doc',
      'added /usr/share/doc/read',
    ],
  );
  // It is another commit's now.
  const { code, stderr } = await dev.run(into);
  assert.equal(code, 6);
  assert.match(stderr, /but robot-1 runs [0-9a-f]{10}\.\n.*treeline checkout --device robot-1 DIR/);
});

test('what a board that is a folder cannot know of owners and bits stays as it was', { skip }, async (t) => {
  const dev = await developer(t);
  const work = join(dev.folder, 'work');
  await dev.does('checkout', dev.system, work);
  execFileSync('chown', ['7:8', join(work, 'usr/bin/sudo')]);
  chmodSync(join(work, 'usr/bin/sudo'), 0o4755);
  const unknown = { uid: null, gid: null, xattrs: null };
  await using server = await answering(dev, [
    file('/usr/bin/sudo', 'other\n', { ...changed(['content']), ...unknown, mode: 0o755 }),
    file('/usr/share/new', 'new\n', unknown),
  ]);
  await dev.does('device', 'shell-diff', 'robot-1', '--into', work, ...server.args);
  const sudo = statSync(join(work, 'usr/bin/sudo'));
  assert.deepEqual([sudo.uid, sudo.gid, sudo.mode & 0o7777], [7, 8, 0o4755]);
  assert.equal(statSync(join(work, 'usr/share/new')).uid, 0);
});

test('the layer of an export has what was added, and the steps that remove the rest are told', async (t) => {
  const dev = await developer(t);
  const layer = join(dev.folder, 'layer');
  await using server = await answering(dev, [...CHANGES, removed('/usr/share/a b', 'file')]);
  const said = await dev.does('device', 'shell-diff', 'robot-1', '--export', layer, ...server.args);
  const inLayer = (readdirSync(layer, { recursive: true }) as string[]).sort((a, b) => (a < b ? -1 : 1));
  assert.deepEqual(inLayer, [
    ...['usr', 'usr/bin', 'usr/bin/sh', 'usr/bin/sudo', 'usr/etc', 'usr/etc/speed'],
    ...['usr/share', 'usr/share/doc', 'usr/share/doc/read'],
  ]);
  assert.deepEqual(said.match(/^ +- remove: .*$/gm), [
    '      - remove: /usr/etc/hostname',
    '      - remove: /usr/lib/modules',
    '      - remove: "/usr/share/a b"',
  ]);
  const again = await dev.run(['device', 'shell-diff', 'robot-1', '--export', layer, ...server.args]);
  assert.equal(again.code, 2);
});

test('a device gets nothing written or removed outside of the folder', async (t) => {
  const dev = await developer(t);
  const outside = join(dev.folder, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'precious'), 'mine');
  const link = (path: string): DeviceChange => ({ ...file(path, ''), type: 'symlink', target: outside, content: null });
  const attempts: DeviceChange[][] = [
    [link('/usr/share/out'), file('/usr/share/out/precious', 'theirs')],
    [link('/usr/share/out'), removed('/usr/share/out/precious', 'file')],
    [link('/usr/share/doc'), { ...file('/usr/share/doc/deep', ''), type: 'folder', content: null }],
    [file('/lib/evil', 'theirs')],
  ];
  for (const [index, changes] of attempts.entries()) {
    await using server = await answering(dev, changes);
    const work = await dev.checkout(`work-${index}`);
    const { code, stderr } = await dev.run(['device', 'shell-diff', 'robot-1', '--into', work, ...server.args]);
    assert.equal(code, 6, stderr);
    assert.match(stderr, /is no folder/);
    assert.ok(!existsSync(join(work, 'usr/lib/evil')));
  }
  await using server = await answering(dev, [
    file('/../outside/precious', 'theirs'),
    removed('/usr/../../outside/precious', 'file'),
    removed('/', 'folder'),
    removed('/usr/share/missing/precious', 'file'),
  ]);
  const work = await dev.checkout('work');
  const said = await dev.does('device', 'shell-diff', 'robot-1', '--into', work, ...server.args);
  assert.equal(said.match(/no path of a tree/g)?.length, 3);
  assert.deepEqual(readdirSync(outside), ['precious']);
  assert.equal(readFileSync(join(outside, 'precious'), 'utf8'), 'mine');
  assert.ok(existsSync(join(work, 'usr')));
});
