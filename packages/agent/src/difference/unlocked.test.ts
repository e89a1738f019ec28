// libostree's own unlocking of a deployment that runs: in namespaces of its own, with the deployment as its root, so that
// libostree takes it for booted, and with the agent's own way to the running system.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import type { Difference } from './difference.ts';

const skip = process.getuid?.() === 0 ? false : 'a system of its own needs root';
const clone = join(import.meta.dirname, '../../../..');

/** What the system needs to be unlocked, and to answer. */
const PROGRAMS = ['dash', 'ostree', 'getfattr', 'setfattr', 'rm', 'mkdir', 'chmod'].map((name) => `/usr/bin/${name}`);

/** Everything is in memory, and in namespaces of this shell: when it ends, so does all of it. */
const SYSTEM = `
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$PLACE"
cd "$PLACE"
mkdir -p tree/usr/bin tree/usr/etc tree/usr/lib/modules/6.1 tree/usr/share/doc/deep sysroot root
# Also the libraries of what runs here, Node among it.
for file in $PROGRAMS $LIBRARIES; do
  mkdir -p "tree/usr/\${file%/*}"
  cp -L "$file" "tree/usr/$file"
done
# /lib and /usr/lib are one folder here, as in every system that OSTree boots.
cp -a tree/usr/usr/. tree/usr
rm -r tree/usr/usr
ln -s dash tree/usr/bin/sh
for name in bin lib lib64; do mkdir -p "tree/usr/$name"; ln -s "usr/$name" "tree/$name"; done
for name in boot dev proc run sysroot tmp var; do mkdir "tree/$name"; done
ln -s sysroot/ostree tree/ostree
echo kernel >tree/usr/lib/modules/6.1/vmlinuz
echo initramfs >tree/usr/lib/modules/6.1/initramfs.img
echo ID=robot >tree/usr/lib/os-release
echo slow >tree/usr/etc/speed
for name in one two doc/licence doc/deep/readme; do echo "$name" >"tree/usr/share/$name"; done
{
  ostree admin init-fs --modern sysroot
  ostree config --repo=sysroot/ostree/repo set sysroot.bootloader none
  ostree admin os-init --sysroot=sysroot robot
  commit=$(ostree commit --repo=sysroot/ostree/repo -b robot --tree=dir=tree)
  ostree admin deploy --sysroot=sysroot --os=robot "$commit"
} >/dev/null 2>&1
deployment="sysroot/ostree/deploy/robot/deploy/$commit.0"
mount --bind "$deployment" root
mount --rbind sysroot root/sysroot
mount --bind sysroot/boot root/boot
mount --bind sysroot/ostree/deploy/robot/var root/var
mount -t proc proc root/proc
mount -t tmpfs tmpfs root/dev
mount -t tmpfs tmpfs root/run
touch root/dev/null root/run/ostree-booted root/run/node
mkdir -p root/var/tmp root/run/treeline
mount --bind /dev/null root/dev/null
mount --bind "$NODE" root/run/node
mount --bind "$CLONE" root/run/treeline
# ostree mounts in a namespace of its own, and what it mounts has to get here, as on a machine with systemd.
mount --make-rshared root
chroot root /bin/sh -eu -c "$UNLOCK" >/dev/null
if [ -n "$REBOOT" ]; then
  # As ostree-prepare-root does at each boot of a hotfix.
  umount root/usr
  cd root
  mount -t overlay overlay -o lowerdir=usr,upperdir=.usr-ovl-upper,workdir=.usr-ovl-work usr
  cd ..
fi
printf %s "$ASK" >root/run/ask.mjs
exec env -i PATH="$PATH" chroot root /run/node /run/ask.mjs
`;

const ASK = `
const agent = '/run/treeline/packages/agent/src';
const { createOstreeSysroot } = await import(agent + '/deploy/ostree-sysroot/ostree-sysroot.ts');
const { findDifference } = await import(agent + '/difference/difference.ts');
const deployer = createOstreeSysroot({ sysroot: '/', os: 'robot', agentDir: '/var/lib/treeline/agent', remote: null });
console.log(JSON.stringify(await findDifference(await deployer.system())));
`;

const CHANGE = `
echo fast >/etc/speed
rm /usr/share/one
rm -r /usr/share/doc
mkdir /usr/share/doc
echo new >/usr/share/doc/new
chmod 600 /usr/share/two
`;

async function changesIn(t: TestContext, o: { unlock: string; reboot?: boolean }): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'treeline-unlocked-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const programs = [process.execPath, ...PROGRAMS];
  const libraries = programs.flatMap(
    (path) => execFileSync('ldd', [path], { encoding: 'utf8' }).match(/(?<=\s)\/\S+/g) ?? [],
  );
  await writeFile(join(folder, 'system.sh'), SYSTEM);
  const env = {
    ...process.env,
    ...{ PLACE: folder, CLONE: clone, NODE: process.execPath, ASK, UNLOCK: `${o.unlock}\n${CHANGE}` },
    ...{ PROGRAMS: PROGRAMS.join(' '), LIBRARIES: [...new Set(libraries)].join(' '), REBOOT: o.reboot ? 'yes' : '' },
  };
  const args = ['--mount', '--pid', '--fork', '--kill-child', 'sh', join(folder, 'system.sh')];
  const { stdout } = await promisify(execFile)('unshare', args, { env, maxBuffer: 2 ** 24 });
  const { changes } = JSON.parse(stdout) as Difference;
  return changes.map(({ path, change, differs }) => [change, path, ...differs].join(' '));
}

const EXPECTED = [
  'changed /etc/speed content',
  'removed /usr/share/doc/deep',
  'removed /usr/share/doc/licence',
  'added /usr/share/doc/new',
  'removed /usr/share/one',
  'changed /usr/share/two mode',
];

test('what was changed after `ostree admin unlock` is found, removals too', { skip }, async (t) => {
  assert.deepEqual(await changesIn(t, { unlock: 'ostree admin unlock' }), EXPECTED);
});

test('the same with --hotfix', { skip }, async (t) => {
  assert.deepEqual(await changesIn(t, { unlock: 'ostree admin unlock --hotfix' }), EXPECTED);
});

test('a hotfix is found after a reboot, too', { skip }, async (t) => {
  assert.deepEqual(await changesIn(t, { unlock: 'ostree admin unlock --hotfix', reboot: true }), EXPECTED);
});
