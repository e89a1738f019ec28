import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, readdirSync } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { runScript, temporaryFolder } from '../testing/sandbox-job.ts';
import { openBubblewrap } from './bubblewrap.ts';
import { rangeOfRoot, subordinateRange } from './root-ids.ts';
import type { Sandbox } from './sandbox.ts';

let sandbox: Sandbox;
before(async () => {
  sandbox = await openBubblewrap();
  assert.ok('host' in sandbox.root, `these tests need a machine for root jobs: ${JSON.stringify(sandbox.root)}`);
});

function outer(): { uid: number; gid: number } {
  assert.ok('host' in sandbox.root);
  return sandbox.root.host;
}

/** Runs a script as root; what it wrote to /out is left for the test to look at. */
async function asRoot(
  parent: string,
  command: string,
  o: Parameters<typeof runScript>[3] = {},
): Promise<{ output: string; exitCode: number | null; dir: string }> {
  const { ending, output, dir } = await runScript(sandbox, parent, command, { root: true, ...o });
  return { output, exitCode: ending.kind === 'exited' ? ending.exitCode : null, dir };
}

test('a root job has 65,536 ids and gives files to them; outside they are ids that nobody else has', async () => {
  await using folder = await temporaryFolder();
  const { output, dir } = await asRoot(
    folder.path,
    `id -u; id -g; id -G
    awk '{ print $1, $3 }' /proc/self/uid_map /proc/self/gid_map
    touch /out/shadow && chown 0:42 /out/shadow && chmod 640 /out/shadow
    touch /out/setuid && chown 65534:7 /out/setuid && chmod 4755 /out/setuid
    chown 65536 /out/setuid 2>/dev/null || echo refused`,
  );
  assert.equal(output, '0\n0\n0\n0 65536\n0 65536\nrefused\n');
  const { uid, gid } = outer();
  const [shadow, setuid] = [lstatSync(join(dir, 'out/shadow')), lstatSync(join(dir, 'out/setuid'))];
  assert.deepEqual([shadow.uid, shadow.gid, shadow.mode & 0o7777], [uid, gid + 42, 0o640]);
  assert.deepEqual([setuid.uid, setuid.gid, setuid.mode & 0o7777], [uid + 65_534, gid + 7, 0o4755]);
});

test('its source, its inputs and its image are seen with the mounts of any job, and are no more writable', async () => {
  await using folder = await temporaryFolder();
  const input = join(folder.path, 'input');
  await mkdir(input);
  await writeFile(join(input, 'data'), 'as it was');
  await chmod(join(input, 'data'), 0o666);
  await chmod(input, 0o777);
  const { output, exitCode } = await asRoot(
    folder.path,
    `for place in / /usr /etc /in /in/app /dev /proc/sys/kernel /var/lib/dpkg ${folder.path} /root /home; do
      if (echo x > $place/treeline-escape) 2>/dev/null; then echo "wrote to $place"; fi
    done
    for place in /usr /etc /in/app /in /; do
      mount -o remount,bind,rw $place 2>/dev/null || true
      mount -o remount,rw $place 2>/dev/null || true
    done
    mkdir /tmp/usr /tmp/app
    mount --bind /usr /tmp/usr && mount -o remount,bind,rw /tmp/usr 2>/dev/null && echo "remounted /usr"
    mount --bind /in/app /tmp/app && mount -o remount,bind,rw /tmp/app 2>/dev/null && echo "remounted an input"
    (echo x > /in/app/data) 2>/dev/null && echo "changed an input"
    # Whoever takes the mount away finds an empty folder of the sandbox's own below.
    umount /in/app && ls -A /in/app
    (echo x > /tmp/app/data) 2>/dev/null && echo "changed an input, once more"
    (echo x > /usr/treeline-escape) 2>/dev/null && echo "changed /usr"
    for place in /src /out /tmp /dev/shm; do echo x > $place/file; done
    cat /tmp/app/data`,
    { inputs: [{ name: 'app', dir: input }] },
  );
  assert.equal(output, 'as it was');
  assert.equal(exitCode, 0);
  assert.equal(await readFile(join(input, 'data'), 'utf8'), 'as it was');
  for (const place of ['/usr', '/etc', '/root', '/']) assert.equal(existsSync(join(place, 'treeline-escape')), false);
});

test("root inside is nobody to this machine's files, processes, devices and kernel", async () => {
  await using folder = await temporaryFolder();
  const { output } = await asRoot(
    folder.path,
    `cat /etc/shadow 2>/dev/null && echo "read /etc/shadow"
    for device in "c 1 3" "b 8 0" "c 10 237"; do mknod /out/node $device 2>/dev/null && echo "made device $device"; done
    ls -A /sys /home /root /boot 2>/dev/null | grep . && echo "sees more than it should"
    mount -t sysfs sys /tmp 2>/dev/null && echo "mounted sysfs"
    mount -t devtmpfs dev /tmp 2>/dev/null && echo "mounted devtmpfs"
    mount /dev/vda /tmp 2>/dev/null && echo "mounted a disk"
    kill -0 ${process.pid} 2>/dev/null && echo "reaches the runner"
    ls -d /proc/${process.pid} 2>/dev/null && echo "sees the runner"
    ls /proc | grep -c '^[0-9]' | awk '$1 > 6 { print "sees processes" }'
    nsenter --target 1 --mount --user true 2>/dev/null && ls ${folder.path} 2>/dev/null && echo "entered"
    chroot /proc/1/root ls ${folder.path} 2>/dev/null && echo "saw the host by way of process 1"
    (echo 1 > /proc/sys/kernel/panic) 2>/dev/null && echo "changed a kernel setting"
    (echo h > /proc/sysrq-trigger) 2>/dev/null && echo "reached sysrq"
    hostname other 2>/dev/null; unshare --user --map-root-user cat /etc/shadow 2>/dev/null && echo "read it from within"
    date -s 2001-01-01 >/dev/null 2>&1 && echo "set the clock"
    echo done`,
    { timeoutSeconds: 60 },
  );
  assert.equal(output, 'done\n');
  assert.notEqual(execFileSync('hostname', { encoding: 'utf8' }).trim(), 'other');
});

test('a root job has no network unless it asks, whatever it may do to its own', async () => {
  await using folder = await temporaryFolder();
  const { output } = await asRoot(
    folder.path,
    'tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d " "; ip link add veth0 type veth peer name veth1 2>/dev/null || true',
  );
  assert.deepEqual(
    output.split('\n').filter((name) => !['', 'lo', 'sit0', 'tunl0', 'ip6tnl0'].includes(name)),
    [],
  );
});

test('it mounts and changes root inside, and none of that is left', async () => {
  await using folder = await temporaryFolder();
  const { output, dir } = await asRoot(
    folder.path,
    `mkdir -p /out/root/proc /out/root/usr
    mount -t proc proc /out/root/proc
    mount -t tmpfs tmpfs /out/root/usr && touch /out/root/usr/gone
    mount --rbind /usr /out/root/usr; ln -s usr/bin usr/lib usr/lib64 /out/root
    chroot /out/root /bin/sh -c 'echo chroot: $(readlink /proc/self/root)'`,
  );
  assert.equal(output, 'chroot: /\n');
  assert.deepEqual(readdirSync(join(dir, 'out/root/usr')), []);
  assert.deepEqual(readdirSync(join(dir, 'out/root/proc')), []);
});

test('a root job that is stopped is gone with all that it started', async () => {
  await using folder = await temporaryFolder();
  const begin = performance.now();
  const { ending, dir } = await runScript(
    sandbox,
    folder.path,
    'setsid unshare --mount --pid --fork sh -c "while :; do date > /out/beat; done" & sleep 60',
    { root: true, timeoutSeconds: 5 },
  );
  assert.deepEqual([ending.kind, ending.kind === 'stopped' && ending.why], ['stopped', 'timeout']);
  assert.ok(performance.now() - begin < 50_000);
  const { mtimeMs } = lstatSync(join(dir, 'out/beat'));
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(lstatSync(join(dir, 'out/beat')).mtimeMs, mtimeMs);
});

test('limits count for root jobs too', async () => {
  await using folder = await temporaryFolder();
  const full = await runScript(sandbox, folder.path, 'dd if=/dev/zero of=/out/big bs=1M count=1000; sleep 30', {
    root: true,
    diskBytes: 10 * 1024 ** 2,
  });
  assert.equal(full.ending.kind === 'stopped' && full.ending.why, 'disk-full');
  const closed =
    'mkdir -m 700 /out/closed; for n in 1 2 3; do head -c 5000000 /dev/zero >/out/closed/$n; done; sleep 30';
  const hidden = await runScript(sandbox, folder.path, closed, { root: true, diskBytes: 10 * 1024 ** 2 });
  assert.equal(hidden.ending.kind === 'stopped' && hidden.ending.why, 'disk-full');
  const raised = await asRoot(folder.path, 'ulimit -f unlimited 2>/dev/null && echo raised; echo done');
  assert.equal(raised.output, 'done\n');
});

test('an ordinary job stays user 1000 without capabilities beside it', async () => {
  await using folder = await temporaryFolder();
  const { output } = await runScript(
    sandbox,
    folder.path,
    'id -u; grep CapEff /proc/self/status; chown 7 /out || true',
  );
  assert.match(output, /^1000\nCapEff:\s+0+\n.*(not permitted|Invalid argument)/s);
});

test('ranges come from /etc/subuid, or lie beyond what others use', () => {
  const text = '# comment\nann:100000:65536\nbuild:165536:1000\nbuild:231072:65536\n1005:300000:70000\n';
  assert.equal(subordinateRange(text, ['ann', '1000']), 100_000);
  assert.equal(subordinateRange(text, ['build', '1001']), 231_072);
  assert.equal(subordinateRange(text, ['eve', '1005']), 300_000);
  assert.equal(subordinateRange(text, ['bob', '1002']), undefined);
  assert.equal(rangeOfRoot('         0          0 4294967295\n'), 1_900_000_000);
  assert.equal(rangeOfRoot('         0     100000      65536\n'), undefined);
  assert.equal(rangeOfRoot('0 1000 1\n1 100000 200000\n'), 134_465);
});
