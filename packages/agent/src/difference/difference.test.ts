import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { listCommitted } from '../deploy/ostree-sysroot/committed.ts';
import { type BoardSystem, type Change, findDifference } from './difference.ts';

const isRoot = process.getuid?.() === 0;
const skip = isRoot ? false : 'mounting needs root';

/** A deployment of a commit as libostree lays it out, with its /etc; files as they were shipped. */
interface Board extends BoardSystem {
  folder: string;
  /** Taken away before the folder is. */
  mounts: string[];
  put(path: string, text: string, mode?: number): void;
}

const SHIPPED: readonly (readonly [path: string, text: string, mode?: number])[] = [
  ['usr/etc/app/speed', 'slow'],
  ['usr/etc/gone', 'gone'],
  ['usr/etc/mode', 'x'],
  ['usr/etc/same', 'same'],
  ['usr/etc/shadow', 'root:*', 0o640],
  ['usr/bin/shipped', 'shipped'],
  ['usr/bin/patched', 'as shipped'],
  ['usr/bin/tool', 'tool', 0o755],
  ['usr/share/doc/deep/readme', 'read me'],
  ['usr/share/doc/licence', 'free'],
  ['usr/share/kept/file', 'kept'],
  ['usr/share/kept/Főtanúsítvány', 'kept'],
  ['opt/vendor/driver', 'driver'],
];

async function newBoard(t: TestContext): Promise<Board> {
  const folder = await mkdtemp(join(tmpdir(), 'treeline-difference-'));
  const mounts: string[] = [];
  t.after(async () => {
    for (const mount of mounts) execFileSync('umount', [mount]);
    await rm(folder, { recursive: true, force: true });
  });
  const at = (...path: string[]) => join(folder, ...path);
  const write = (top: string) => (path: string, text: string, mode?: number) => {
    mkdirSync(at(top, path, '..'), { recursive: true });
    writeFileSync(at(top, path), text);
    // Whatever the umask is.
    chmodSync(at(top, path), mode ?? 0o644);
  };
  for (const file of SHIPPED) write('tree')(...file);
  symlinkSync('shipped', at('tree/usr/bin/link'));
  symlinkSync('usr/bin', at('tree/bin'));
  const ostree = (...args: string[]) => execFileSync('ostree', args, { encoding: 'utf8' }).trim();
  const [repo, deployment] = [at('repo'), at('deployment')];
  ostree('init', `--repo=${repo}`, `--mode=${isRoot ? 'bare' : 'bare-user'}`);
  const commit = ostree('commit', `--repo=${repo}`, '--branch=robot', `--tree=dir=${at('tree')}`);
  ostree('checkout', `--repo=${repo}`, ...(isRoot ? [] : ['-U']), commit, deployment);
  execFileSync('cp', ['-a', join(deployment, 'usr/etc'), join(deployment, 'etc')]);
  return {
    ...{ folder, mounts, deployment, root: deployment, etc: join(deployment, 'etc'), exact: isRoot },
    put: (path, text, mode) => {
      rmSync(join(deployment, path), { force: true });
      write('deployment')(path, text, mode);
    },
    committed: (path, how) => listCommitted(repo, commit, { path, ...how }),
  };
}

/** Mounts an overlay over /usr of a board's deployment, to be seen at another root, as a running system sees it. */
function unlock(board: Board, options: readonly string[] = []): { root: string; usr: string } {
  const root = join(board.folder, 'running');
  const [usr, upper, work] = [join(root, 'usr'), join(board.folder, 'upper dir'), join(board.folder, 'work')];
  for (const path of [usr, upper, work]) mkdirSync(path, { recursive: true });
  // libostree names the lower folder relative to the deployment, too.
  const dirs = [`lowerdir=usr,upperdir=${upper},workdir=${work}`, ...options].join(',');
  execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', dirs, usr], { cwd: board.deployment });
  board.mounts.push(usr);
  return { root, usr };
}

function told(changes: readonly Change[]): string[] {
  return changes.map(({ path, change, differs, omitted }) => {
    const how = [...differs, ...(omitted ? [`(${omitted})`] : [])].join(' ');
    return `${change} ${path}${how === '' ? '' : `: ${how}`}`;
  });
}

const textOf = (change: Change | undefined) => Buffer.from(change?.content ?? '', 'base64').toString();

test('what was changed in /etc by hand is found, with its content, but for secrets', async (t) => {
  const board = await newBoard(t);
  board.put('etc/app/speed', 'fast');
  chmodSync(join(board.etc, 'mode'), 0o755);
  board.put('etc/shadow', 'root:hash', 0o600);
  board.put('etc/new/file', 'new');
  rmSync(join(board.etc, 'gone'));
  symlinkSync('/usr/share/zoneinfo/UTC', join(board.etc, 'localtime'));
  utimesSync(join(board.etc, 'same'), 5, 5);

  const { changes, complete } = await findDifference(board);
  assert.equal(complete, true);
  assert.deepEqual(told(changes), [
    'changed /etc/app/speed: content',
    'removed /etc/gone',
    'added /etc/localtime',
    'changed /etc/mode: mode',
    'added /etc/new',
    'added /etc/new/file',
    'changed /etc/shadow: content mode (secret)',
  ]);
  const of = (path: string) => changes.find((change) => change.path === path);
  assert.equal(textOf(of('/etc/app/speed')), 'fast');
  assert.equal(of('/etc/localtime')?.target, '/usr/share/zoneinfo/UTC');
  assert.equal(of('/etc/mode')?.mode, 0o755);
  assert.equal(of('/etc/gone')?.type, 'file');

  const short = await findDifference(board, { limits: { changes: 2, contentBytes: 3 } });
  assert.equal(short.complete, false);
  assert.deepEqual(told(short.changes), ['changed /etc/app/speed: content (large)', 'removed /etc/gone']);
});

test('without an overlay, /usr and the rest are compared with what the commit lists', async (t) => {
  const board = await newBoard(t);
  board.put('usr/bin/patched', 'by hand');
  board.put('usr/bin/added', 'added');
  rmSync(join(board.deployment, 'usr/share/doc'), { recursive: true });
  rmSync(join(board.deployment, 'usr/bin/link'));
  symlinkSync('tool', join(board.deployment, 'usr/bin/link'));
  rmSync(join(board.deployment, 'opt/vendor/driver'));
  chmodSync(join(board.deployment, 'usr/share/kept'), 0o700);
  // libostree's own, and what is mounted on.
  for (const name of ['.usr-ovl-upper', 'proc', 'var']) mkdirSync(join(board.deployment, name));
  const { changes } = await findDifference(board);
  assert.deepEqual(told(changes), [
    'added /usr/bin/added',
    'changed /usr/bin/link: target',
    'changed /usr/bin/patched: content',
    'removed /usr/share/doc',
    'changed /usr/share/kept: mode',
    'removed /opt/vendor/driver',
  ]);
});

test('over an unlocked /usr: additions, changes, removals, attributes, of the kernel’s own overlay', {
  skip,
}, async (t) => {
  const board = await newBoard(t);
  const { root, usr } = unlock(board);
  const at = (path: string) => join(usr, path);
  writeFileSync(at('bin/patched'), 'as SHIPPED');
  // As old as everything that was checked out, and of the same size: only that it was written says it.
  utimesSync(at('bin/patched'), 0, 0);
  writeFileSync(at('bin/added'), 'added', { mode: 0o755 });
  chmodSync(at('bin/tool'), 0o4755);
  rmSync(at('bin/link'));
  symlinkSync('tool', at('bin/link'));
  chownSync(at('bin/shipped'), 7, 8);
  execFileSync('setfattr', ['-n', 'user.note', '-v', 'a\n=\\b', at('share/kept/file')]);
  // Removed and made anew: an opaque folder, that hides what is below it.
  rmSync(at('share/doc'), { recursive: true });
  mkdirSync(at('share/doc'));
  writeFileSync(at('share/doc/licence'), 'free');
  writeFileSync(at('share/doc/new'), 'new');
  // Touched only.
  chmodSync(at('share'), 0o755);

  const { changes } = await findDifference({ ...board, root });
  assert.deepEqual(told(changes), [
    'added /usr/bin/added',
    'changed /usr/bin/link: target',
    'changed /usr/bin/patched: content',
    'changed /usr/bin/shipped: owner',
    'changed /usr/bin/tool: mode',
    'removed /usr/share/doc/deep',
    'added /usr/share/doc/new',
    'changed /usr/share/kept/file: xattrs',
  ]);
  const of = (path: string) => changes.find((change) => change.path === path);
  assert.equal(textOf(of('/usr/bin/patched')), 'as SHIPPED');
  assert.deepEqual([of('/usr/bin/shipped')?.uid, of('/usr/bin/shipped')?.gid], [7, 8]);
  assert.equal(of('/usr/bin/tool')?.mode, 0o4755);
  assert.equal(of('/usr/share/doc/deep')?.type, 'folder');
  const value = Buffer.from('a\n=\\b').toString('base64');
  assert.deepEqual(of('/usr/share/kept/file')?.xattrs, [{ name: 'user.note', value }]);
});

test('files become folders and folders files', { skip }, async (t) => {
  const board = await newBoard(t);
  const { root, usr } = unlock(board);
  rmSync(join(usr, 'bin/tool'));
  mkdirSync(join(usr, 'bin/tool'));
  writeFileSync(join(usr, 'bin/tool/main'), 'main');
  rmSync(join(usr, 'share/doc'), { recursive: true });
  writeFileSync(join(usr, 'share/doc'), 'see the web');
  rmSync(join(board.etc, 'app'), { recursive: true });
  symlinkSync('same', join(board.etc, 'app'));
  const { changes } = await findDifference({ ...board, root });
  assert.deepEqual(told(changes), [
    'changed /etc/app: type',
    'changed /usr/bin/tool: type',
    'added /usr/bin/tool/main',
    'changed /usr/share/doc: type',
  ]);
});

test('a folder that was moved over another shows its own files, however alike they look', { skip }, async (t) => {
  const board = await newBoard(t);
  for (const name of ['one', 'two']) board.put(`usr/lib/${name}/data`, name);
  for (const path of ['one', 'two']) utimesSync(join(board.deployment, 'usr/lib', path, 'data'), 0, 0);
  const { root, usr } = unlock(board, ['redirect_dir=on']);
  rmSync(join(usr, 'lib/two'), { recursive: true });
  renameSync(join(usr, 'lib/one'), join(usr, 'lib/two'));
  assert.deepEqual(readdirSync(join(board.folder, 'upper dir/lib/two')), [], 'the kernel moved the folder only');
  const { changes } = await findDifference({ ...board, root });
  assert.deepEqual(told(changes), ['removed /usr/lib/one', 'changed /usr/lib/two/data: content']);
  assert.equal(textOf(changes[1]), 'one');
});

test('on a board that is a folder, owners and set-user-id bits are nobody’s change', async (t) => {
  const board = await newBoard(t);
  const entries = await board.committed('/usr', { below: true });
  const committed: BoardSystem['committed'] = async (path, how) => {
    const found = path === '/usr' ? entries : await board.committed(path, how);
    return new Map([...found].map(([key, entry]) => [key, { ...entry, uid: 99, mode: entry.mode | 0o4000 }]));
  };
  lutimesSync(join(board.deployment, 'usr/bin/link'), 5, 5);
  assert.deepEqual((await findDifference({ ...board, committed, exact: false })).changes, []);
  assert.notDeepEqual((await findDifference({ ...board, committed, exact: true })).changes, []);
});
