import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, readFile, readlink, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { runScript, temporaryFolder } from '../testing/sandbox-job.ts';
import { openBubblewrap } from './bubblewrap.ts';
import type { Sandbox } from './sandbox.ts';

let sandbox: Sandbox;
before(async () => {
  sandbox = await openBubblewrap();
});

test('a script runs in /src, with -eu, and what it prints comes in order', async () => {
  await using folder = await temporaryFolder();
  const { ending, output } = await runScript(
    sandbox,
    folder.path,
    'pwd\necho a\necho b >&2\necho c >/dev/stderr\nfalse\necho never',
  );
  assert.equal(output, '/src\na\nb\nc\n');
  assert.equal(ending.kind === 'exited' && ending.exitCode, 1);
});

test("the exit status is the script's own, also by a signal", async () => {
  await using folder = await temporaryFolder();
  for (const [command, status] of [
    ['exit 0', 0],
    ['exit 7', 7],
    ['kill -9 $$', 137],
    ['exit 1', 1],
  ] as const) {
    const { ending } = await runScript(sandbox, folder.path, command);
    assert.deepEqual([ending.kind, ending.kind === 'exited' && ending.exitCode], ['exited', status]);
  }
});

test('the environment is what the job declares and the constants, and nothing of the runner', async () => {
  await using folder = await temporaryFolder();
  process.env.TREELINE_TEST_SECRET = 'x';
  const { output } = await runScript(sandbox, folder.path, 'env | sort', {
    environment: { EPOCHS: '60', OUT: '/etc' },
  });
  delete process.env.TREELINE_TEST_SECRET;
  assert.deepEqual(output.trim().split('\n'), [
    'EPOCHS=60',
    'HOME=/tmp',
    'IN=/in',
    'LANG=C.UTF-8',
    'OUT=/out',
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    'PWD=/src',
    'SRC=/src',
    'TMPDIR=/tmp',
  ]);
});

test('a job writes to /src, /out and /tmp, and nowhere else', async () => {
  await using folder = await temporaryFolder();
  const input = join(folder.path, 'input');
  await mkdir(input);
  await writeFile(join(input, 'data'), 'as it was');
  const script = `
    for place in / /usr /etc /in /in/app /dev /proc/sys/kernel /var/lib/dpkg ${folder.path} /root /home; do
      if (echo x > $place/treeline-escape) 2>/dev/null; then echo "wrote to $place"; fi
    done
    (echo x > /in/app/data) 2>/dev/null && echo "changed an input"
    (echo x > /job.sh) 2>/dev/null && echo "changed its script"
    mount -o remount,rw /usr 2>/dev/null && echo "remounted"
    for place in /src /out /tmp /dev/shm; do echo x > $place/file; done
    test ! -e ${folder.path} || echo "sees the host"
    ls -A /in; cat /in/app/data`;
  const { ending, output, dir } = await runScript(sandbox, folder.path, script, {
    inputs: [{ name: 'app', dir: input }],
  });
  assert.equal(output, 'app\nas it was');
  assert.equal(ending.kind === 'exited' && ending.exitCode, 0);
  assert.equal(await readFile(join(dir, 'out/file'), 'utf8'), 'x\n');
  assert.equal(await readFile(join(input, 'data'), 'utf8'), 'as it was');
  for (const place of ['/usr', '/etc', '/root', '/']) assert.equal(existsSync(join(place, 'treeline-escape')), false);
});

test('a symlink that a job makes is only a symlink', async () => {
  await using folder = await temporaryFolder();
  const { dir } = await runScript(sandbox, folder.path, 'ln -s /etc/passwd /out/link; ln -s /root /out/home');
  assert.equal(await readlink(join(dir, 'out/link')), '/etc/passwd');
});

test('a job has no network, and with network it has the names and certificates too', async () => {
  await using folder = await temporaryFolder();
  const closed = await runScript(sandbox, folder.path, 'cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d " "');
  assert.deepEqual(
    closed.output.split('\n').filter((name) => !['', 'lo', 'sit0', 'tunl0', 'ip6tnl0'].includes(name)),
    [],
  );
  const image = await busyImage(folder.path);
  const open = await runScript(
    sandbox,
    folder.path,
    'cat /etc/resolv.conf; test -s /etc/ssl/certs/ca-certificates.crt && echo certificates; cat /etc/issue',
    {
      network: true,
      image,
    },
  );
  const resolver = await readFile('/etc/resolv.conf', 'utf8');
  const certificates = existsSync('/etc/ssl/certs/ca-certificates.crt') ? 'certificates\n' : '';
  assert.equal(open.output, `${resolver}${certificates}tiny\n`);
});

test('a job runs in its image and sees nothing of this machine', async () => {
  await using folder = await temporaryFolder();
  const image = await busyImage(folder.path);
  const { output } = await runScript(
    sandbox,
    folder.path,
    'echo /*; echo /etc/*; id -un 2>/dev/null || cat /etc/passwd',
    { image },
  );
  assert.equal(
    output,
    [
      '/dev /etc /in /job.sh /lib /lib64 /out /proc /src /tmp /usr',
      '/etc/group /etc/issue /etc/passwd',
      'job:x:1000:1000:job:/tmp:/bin/sh',
      '',
    ]
      .join('\n')
      .replace('/dev ', '/bin /dev '),
  );
});

test('settings of an OSTree system are seen in /etc', async () => {
  await using folder = await temporaryFolder();
  const image = await busyImage(folder.path, 'usr/etc');
  const { output } = await runScript(sandbox, folder.path, 'cat /etc/issue /usr/etc/issue', { image });
  assert.equal(output, 'tiny\ntiny\n');
});

test("an image whose files are links to this machine's shows nothing of them", async () => {
  await using folder = await temporaryFolder();
  const image = await busyImage(folder.path);
  const secret = join(folder.path, 'secret');
  await writeFile(secret, 'secret:x:7:7::/:\n');
  await symlink(secret, join(image, 'etc/passwd'));
  await symlink(folder.path, join(image, 'etc/host'));
  const { output } = await runScript(sandbox, folder.path, 'cat /etc/passwd; cat /etc/host/secret || echo not there', {
    image,
  });
  assert.match(output, /^job:x:1000[^\n]*\n.*not there\n$/s);
  assert.doesNotMatch(output, /secret:x/);
});

test('an image whose shell cannot be run is told apart from a sandbox that fails', async () => {
  await using folder = await temporaryFolder();
  const image = join(folder.path, 'image');
  await mkdir(join(image, 'bin'), { recursive: true });
  for (const reason of [/No such file/, /Exec format error/]) {
    const { ending } = await runScript(sandbox, folder.path, 'true', { image });
    assert.equal(ending.kind === 'exited' && ending.exitCode, 127);
    assert.match(ending.kind === 'exited' ? (ending.note ?? '') : '', reason);
    await writeFile(join(image, 'bin/sh'), '\x7fELF of another world', { mode: 0o755 });
  }
});

test('image "host" keeps to itself what only root may read', async () => {
  await using folder = await temporaryFolder();
  const { output } = await runScript(
    sandbox,
    folder.path,
    'cat /etc/shadow 2>/dev/null || echo closed; ls -A /var /home 2>/dev/null || true',
  );
  assert.equal(output, 'closed\n/var:\nlib\n');
});

test('time is up: the whole process tree is gone', async () => {
  await using folder = await temporaryFolder();
  const begin = performance.now();
  const { ending } = await runScript(
    sandbox,
    folder.path,
    'setsid sh -c "while :; do date > /out/beat; done" & sleep 60',
    { timeoutSeconds: 0.5 },
  );
  assert.ok(performance.now() - begin < 50_000);
  assert.deepEqual([ending.kind, ending.kind === 'stopped' && ending.why], ['stopped', 'timeout']);
});

test('what a script leaves in the background is gone when the run ends', async () => {
  await using folder = await temporaryFolder();
  const { ending, dir } = await runScript(
    sandbox,
    folder.path,
    '(setsid sh -c "while :; do date > /out/beat; done" >/dev/null 2>&1 &)\nuntil [ -s /out/beat ]; do sleep 0.01; done',
  );
  assert.equal(ending.kind, 'exited');
  const { mtimeMs } = await stat(join(dir, 'out/beat'));
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal((await stat(join(dir, 'out/beat'))).mtimeMs, mtimeMs);
});

test('a job that fills the disk is stopped, with the limit named', async () => {
  await using folder = await temporaryFolder();
  const one = 'dd if=/dev/zero of=/out/big bs=1M count=1000 2>/dev/null || true; sleep 30';
  const many = 'i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero > /tmp/f$i; done';
  const empty = 'i=0; while :; do i=$((i+1)); : > /tmp/f$i; done';
  const ignored = 'trap "" XFSZ; dd if=/dev/zero of=/out/big bs=1M count=1000';
  for (const command of [one, many, empty, ignored]) {
    const { ending } = await runScript(sandbox, folder.path, command, { diskBytes: 10 * 1024 ** 2 });
    assert.equal(ending.kind === 'stopped' && ending.why, 'disk-full', command);
    assert.match(ending.kind === 'stopped' ? ending.message : '', /limit of 10M/);
    assert.ok(ending.diskBytes < 800_000_000);
  }
});

test('the source that is there already does not count for what a job may write', async () => {
  await using folder = await temporaryFolder();
  const { ending } = await runScript(
    sandbox,
    folder.path,
    'head -c 3000000 /dev/zero > /tmp/f; head -c 3000000 /dev/zero > /out/f',
    {
      diskBytes: 7_000_000,
    },
  );
  assert.deepEqual([ending.kind, ending.diskBytes >= 6_000_000], ['exited', true]);
});

test('a job that takes more memory than it may is stopped', async () => {
  await using folder = await temporaryFolder();
  const { ending } = await runScript(sandbox, folder.path, 'x=$(head -c 200000000 /dev/zero | tr "\\0" x); sleep 30', {
    memoryBytes: 50_000_000,
  });
  assert.deepEqual([ending.kind === 'stopped' && ending.why], ['memory']);
});

test('an aborted job is gone at once', async () => {
  await using folder = await temporaryFolder();
  const begin = performance.now();
  const { ending } = await runScript(sandbox, folder.path, 'sleep 60', { signal: AbortSignal.timeout(300) });
  assert.equal(ending.kind === 'stopped' && ending.why, 'aborted');
  assert.ok(performance.now() - begin < 50_000);
});

test('a sandbox that cannot be made is no failure of the job', async () => {
  await using folder = await temporaryFolder();
  await assert.rejects(
    runScript(sandbox, folder.path, 'true', { inputs: [{ name: 'gone', dir: join(folder.path, 'gone') }] }),
    { name: 'RunnerError', code: 'sandbox-failed', message: /could not start the job: bwrap: .*gone/ },
  );
});

test('a machine without bubblewrap is told what to install', async () => {
  const { PATH } = process.env;
  process.env.PATH = '/nowhere';
  try {
    await assert.rejects(openBubblewrap(), { code: 'no-sandbox', hint: /apt-get install bubblewrap.*--unsandboxed/ });
  } finally {
    process.env.PATH = PATH;
  }
});

/** An image with a shell, cat and ls of this machine and the libraries that they need. */
async function busyImage(parent: string, etc = 'etc'): Promise<string> {
  const image = join(parent, 'image');
  for (const dir of ['usr/bin', 'usr/lib', 'usr/lib64', etc]) await mkdir(join(image, dir), { recursive: true });
  for (const link of ['bin', 'lib', 'lib64']) await symlink(`usr/${link}`, join(image, link));
  const libraries = ['/bin/sh', '/bin/cat'];
  for (const file of libraries) await copyFile(file, join(image, 'usr/bin', file.slice('/bin/'.length)));
  await chmod(join(image, 'usr/bin/sh'), 0o755);
  const maps = await readFile('/proc/self/maps', 'utf8');
  for (const path of new Set(maps.match(/\/\S*\/(libc\.so\.6|libc-[0-9.]+\.so|ld-linux[^\s/]*|ld-[0-9.]+\.so)$/gm))) {
    await copyFile(path, join(image, 'usr/lib', path.slice(path.lastIndexOf('/') + 1)));
    await copyFile(path, join(image, 'usr/lib64', path.slice(path.lastIndexOf('/') + 1)));
  }
  await writeFile(join(image, etc, 'issue'), 'tiny\n');
  return image;
}
