import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Developer, developer, glance } from '../testing/developer.ts';

const bin = fileURLToPath(new URL('../../bin/treeline.js', import.meta.url));
const isRoot = process.getuid?.() === 0;
const NOBODY = 65534;

/** Runs a line of shell in a workspace. */
async function inside(dev: Developer, work: string, script: string, ...options: string[]) {
  return dev.run(['enter', ...options, work, '--', 'sh', '-c', script]);
}

test('inside, the workspace is the system: root, its settings at /etc, what is changed is changed in it', async (t) => {
  const dev = await developer(t);
  const work = await dev.checkout('robot');
  const before = readdirSync(work).sort();
  const ended = await inside(
    dev,
    work,
    'id -u; cat /etc/speed; echo fast > /etc/speed; echo x > /usr/share/made; cat /proc/sys/kernel/hostname; ls /dev/null; echo $HOME $PATH',
  );
  assert.deepEqual([ended.code, ended.stderr], [0, '']);
  assert.equal(
    ended.stdout,
    '0\nslow\nrobot\n/dev/null\n/root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n',
  );
  assert.equal(glance(join(work, 'usr/etc/speed')), '644 fast\n');
  assert.equal(glance(join(work, 'usr/share/made')), '644 x\n');
  assert.deepEqual(readdirSync(work).sort(), before, 'nothing that was mounted on is left');
  const { changes } = await dev.json<{ changes: { path: string }[] }>('commit', work);
  assert.deepEqual(
    changes.map(({ path }) => path),
    ['/usr/etc/speed', '/usr/share/made'],
  );
});

test('/var is a scratch folder of the workspace, /tmp and /run are gone afterwards, and none of it is committed', async (t) => {
  const dev = await developer(t);
  const [one, two] = [await dev.checkout('one'), await dev.checkout('two')];
  const write =
    'echo kept > /var/lib/state; echo mine > /root/file; echo x > /tmp/x; echo x > /run/x; ls -d /var/tmp /run/lock';
  assert.deepEqual((await inside(dev, one, write)).code, 0);
  const again = await inside(dev, one, 'cat /var/lib/state /root/file; ls /tmp /run');
  assert.equal(again.stdout, 'kept\nmine\n/run:\nlock\n\n/tmp:\n');
  assert.equal((await inside(dev, two, 'cat /var/lib/state')).code, 1, 'another workspace has its own');
  assert.match(await dev.does('commit', one), /^Nothing was changed/);
});

test('the exit code is passed on, that of a signal too', async (t) => {
  const dev = await developer(t);
  const work = await dev.checkout('robot');
  assert.equal((await inside(dev, work, 'exit 42')).code, 42);
  assert.equal((await inside(dev, work, 'kill -9 $$')).code, 137);
  assert.equal((await dev.run(['enter', work, '--', '/no/such/program'])).code, 1);
  assert.equal((await dev.run(['enter', dev.folder, '--', 'sh'])).code, 5);
});

test('there is the network of this machine, with its name servers, unless it is left out', async (t) => {
  const dev = await developer(t);
  const work = await dev.checkout('robot');
  const devices = (text: string) => text.match(/^ *[\w.-]+(?=:)/gm)?.map((name) => name.trim()) ?? [];
  const here = devices(readFileSync('/proc/net/dev', 'utf8'));
  assert.deepEqual(devices((await inside(dev, work, 'cat /proc/net/dev')).stdout), here);
  assert.deepEqual(devices((await inside(dev, work, 'cat /proc/net/dev', '--no-network')).stdout), ['lo']);
  if (existsSync('/etc/resolv.conf')) {
    const servers = readFileSync('/etc/resolv.conf', 'utf8');
    assert.equal((await inside(dev, work, 'cat /etc/resolv.conf')).stdout, servers);
    assert.ok(!existsSync(join(work, 'usr/etc/resolv.conf')));
    symlinkSync('../run/resolver/resolv.conf', join(work, 'usr/etc/resolv.conf'));
    assert.equal((await inside(dev, work, 'cat /etc/resolv.conf')).stdout, servers);
  }
});

test('a tree whose /tmp leads into /sysroot, as OSTree systems have it, is entered', async (t) => {
  const dev = await developer(t);
  const work = await dev.checkout('robot');
  mkdirSync(join(work, 'sysroot'));
  symlinkSync('sysroot/tmp', join(work, 'tmp'));
  const { code, stdout } = await inside(dev, work, 'echo x > /tmp/x; ls /tmp');
  assert.deepEqual([code, stdout], [0, 'x\n']);
  assert.deepEqual(readdirSync(join(work, 'sysroot')), []);
});

test('an `enter` that is killed leaves nothing running, and nothing that is committed', async (t) => {
  const dev = await developer(t);
  const work = await dev.checkout('robot');
  const child = spawn(
    process.execPath,
    [bin, 'enter', work, '--', 'sh', '-c', `echo ready; exec sleep 9876.${process.pid}`],
    {
      env: { ...process.env, ...dev.env },
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  );
  await once(child.stdout, 'data');
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
  for (let tries = 0; ; tries++) {
    const left = spawnSync('pgrep', ['-f', `^sleep 9876\\.${process.pid}$`], { encoding: 'utf8' }).stdout.trim();
    if (left === '') break;
    assert.ok(tries < 1200, `still running: ${left}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.match(await dev.does('commit', work), /^Nothing was changed/);
});

test('a terminal works: the shell has it, and ^C ends what runs in it, not the shell', {
  skip: !existsSync('/usr/bin/script'),
}, async (t) => {
  const dev = await developer(t);
  const work = await dev.checkout('robot');
  const command = `${process.execPath} ${bin} enter ${work}`;
  const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    env: { ...process.env, ...dev.env, TERM: 'dumb' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const exited = once(child, 'exit') as Promise<[number | null]>;
  let seen = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    seen += text;
  });
  const until = async (text: string) => {
    for (let tries = 0; !seen.includes(text); tries++) {
      assert.ok(tries < 400, `no ${JSON.stringify(text)} in ${JSON.stringify(seen)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  await until('# ');
  child.stdin.write('test -t 0 && echo is-a-ter""minal\n');
  await until('is-a-terminal');
  child.stdin.write('echo slee""ping; sleep 1000\n');
  await until('sleeping');
  seen = '';
  // Whatever the shell was about when it came, and more often than is needed.
  for (let tries = 0; tries < 3 || !seen.includes('# '); tries++) {
    assert.ok(tries < 60, `no prompt after ^C in ${JSON.stringify(seen)}`);
    await new Promise((resolve) => setTimeout(resolve, 300));
    child.stdin.write('\x03');
  }
  await new Promise((resolve) => setTimeout(resolve, 300));
  child.stdin.write('echo still-he""re; exit 5\n');
  await until('still-here');
  assert.deepEqual(await exited, [5, null]);
});

test('an ordinary user needs no rights for it, and keeps what only root can have', {
  skip: !isRoot && 'is one',
}, async (t) => {
  const dev = await developer(t);
  execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, dev.folder]);
  chmodSync(dev.folder, 0o755);
  chownSync(dev.folder, NOBODY, NOBODY);
  const work = join(dev.folder, 'robot');
  // The folder of this clone may be root's: Node must only read it.
  const as = (...args: string[]) =>
    spawnSync(process.execPath, [bin, ...args], {
      uid: NOBODY,
      gid: NOBODY,
      env: { PATH: process.env.PATH, HOME: dev.folder, NODE_DISABLE_COMPILE_CACHE: '1', ...dev.env },
      encoding: 'utf8',
    });
  const made = as('checkout', dev.system, work);
  if (/EACCES|Cannot find module/.test(made.stderr)) return t.skip('nobody cannot read this clone');
  assert.deepEqual([made.status, made.stderr], [0, '']);
  assert.equal(lstatSync(join(work, 'usr/bin/sudo')).uid, NOBODY);
  const script = 'id -u; echo more >> /usr/bin/sudo; echo new > /usr/bin/new; chmod 4755 /usr/bin/new';
  const entered = as('enter', work, '--', 'sh', '-c', script);
  assert.deepEqual([entered.status, entered.stdout], [0, '0\n'], entered.stderr);
  const commit = JSON.parse(as('commit', work, '--json').stdout) as {
    changes: { path: string; after: { mode: number; uid: number } }[];
  };
  assert.deepEqual(
    commit.changes.map(({ path, after }) => `${path} ${(after.mode & 0o7777).toString(8)} ${after.uid}`),
    ['/usr/bin/new 4755 0', '/usr/bin/sudo 4755 0'],
  );
  rmSync(work, { recursive: true });
});

test('root’s workspace has exact owners, and what root makes in it is his', {
  skip: !isRoot && 'owners need root',
}, async (t) => {
  const dev = await developer(t);
  const work = join(dev.folder, 'exact');
  await dev.does('checkout', dev.system, work);
  assert.equal(lstatSync(join(work, 'usr/bin/sudo')).mode & 0o7777, 0o4755);
  assert.equal((await inside(dev, work, 'echo x > /usr/share/mine; exit 0')).code, 0);
  chownSync(join(work, 'usr/share/mine'), 1234, 1234);
  const { changes } = await dev.json<{ changes: { path: string; after: { uid: number } }[] }>('commit', work);
  assert.deepEqual(
    changes.map(({ path, after }) => `${path} ${after.uid}`),
    ['/usr/share/mine 1234'],
  );
  assert.equal((await dev.run(['commit', work, '--owner', '1:1'])).code, 2);
  // The settings of this machine's kernel are not the workspace's.
  const kernel = await inside(dev, work, 'echo 1 > /proc/sys/kernel/sysrq');
  assert.notEqual(kernel.code, 0);
});
