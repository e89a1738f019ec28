import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BubblewrapPlan } from './arguments.ts';
import { bubblewrapArguments } from './arguments.ts';
import type { LayoutEntry } from './layout.ts';

const usr: LayoutEntry = { kind: 'dir', name: 'usr', source: '/i/usr' };
const etc = (entries: LayoutEntry[]): LayoutEntry => ({ kind: 'dir', name: 'etc', source: '/i/etc', entries });
const passwd: LayoutEntry = { kind: 'file', name: 'passwd', source: '/i/etc/passwd' };

function argumentsOf(plan: Partial<BubblewrapPlan>): string {
  return bubblewrapArguments({
    image: [usr],
    mounts: [],
    environment: {},
    network: false,
    devices: [],
    sharedMemoryBytes: 1024,
    chdir: '/src',
    statusFd: 3,
    ...plan,
  }).join(' ');
}

test('a job has no network unless it asks for it', () => {
  assert.match(argumentsOf({}), /--unshare-all/);
  assert.doesNotMatch(argumentsOf({}), /--share-net/);
  assert.match(argumentsOf({ network: true }), /--share-net/);
});

test('a job has no capability, no environment but its own, and dies with its runner', () => {
  const args = argumentsOf({ environment: { A: 'b c' } });
  assert.match(args, /--die-with-parent --new-session --cap-drop ALL --clearenv --setenv A b c/);
  assert.match(args, /--uid 1000 --gid 1000/);
});

test('the image is bound read-only, entry by entry, and the root is sealed last', () => {
  const args = argumentsOf({ image: [{ kind: 'symlink', name: 'bin', target: 'usr/bin' }, usr] });
  assert.match(args, /--symlink usr\/bin \/bin --ro-bind \/i\/usr \/usr --remount-ro \/ --chdir \/src/);
  assert.doesNotMatch(args, / --bind /);
});

test('only what is mounted writable is writable', () => {
  const args = argumentsOf({
    mounts: [
      { kind: 'ro', at: '/in/app', source: '/t/app', type: 'dir' },
      { kind: 'rw', at: '/out', source: '/j/out', type: 'dir' },
    ],
  });
  assert.deepEqual(args.match(/--bind \S+ \S+/g), ['--bind /j/out /out']);
  assert.match(args, /--ro-bind \/t\/app \/in\/app/);
});

test('what is mounted at the top hides what the image has there', () => {
  const args = argumentsOf({
    image: [{ kind: 'symlink', name: 'tmp', target: 'sysroot/tmp' }, usr],
    mounts: [{ kind: 'rw', at: '/tmp', source: '/j/tmp', type: 'dir' }],
  });
  assert.doesNotMatch(args, /sysroot/);
  assert.match(args, /--bind \/j\/tmp \/tmp/);
});

test('a folder stays in one piece when it has what is mounted below it', () => {
  const args = argumentsOf({
    image: [etc([passwd])],
    mounts: [{ kind: 'ro', at: '/etc/passwd', source: '/j/passwd', type: 'file' }],
  });
  assert.match(args, /--ro-bind \/i\/etc \/etc --ro-bind \/j\/passwd \/etc\/passwd/);
});

test('a folder is taken apart when it lacks what is mounted below it, or has a link there', () => {
  const mounts: BubblewrapPlan['mounts'] = [{ kind: 'ro', at: '/etc/resolv.conf', source: '/j/r', type: 'file' }];
  const link: LayoutEntry = { kind: 'symlink', name: 'resolv.conf', target: '/run/r' };
  for (const entries of [[passwd], [passwd, link]]) {
    const args = argumentsOf({ image: [etc(entries)], mounts });
    assert.match(args, /--dir \/etc --ro-bind \/i\/etc\/passwd \/etc\/passwd --ro-bind \/j\/r \/etc\/resolv.conf/);
    assert.doesNotMatch(args, /\/run\/r/);
  }
});

test('nothing is mounted through a symlink of the image', () => {
  const args = argumentsOf({
    image: [{ kind: 'symlink', name: 'etc', target: '/home' }],
    mounts: [{ kind: 'ro', at: '/etc/passwd', source: '/j/passwd', type: 'file' }],
  });
  assert.doesNotMatch(args, /passwd/);
});

test('/in is an empty sealed folder with a place for each input, whatever the image has there', () => {
  const args = argumentsOf({
    image: [{ kind: 'dir', name: 'in', source: '/i/in' }],
    mounts: [
      { kind: 'ro', at: '/in/app', source: '/t/app', type: 'dir' },
      { kind: 'empty', at: '/in' },
    ],
  });
  assert.match(args, /--tmpfs \/in --dir \/in\/app --remount-ro \/in --ro-bind \/t\/app \/in\/app/);
  assert.doesNotMatch(args, /\/i\/in/);
});

test('/dev has the devices named and a bounded /dev/shm, and is sealed', () => {
  const args = argumentsOf({ mounts: [{ kind: 'dev', at: '/dev' }], devices: ['/dev/nvidia0'] });
  assert.match(
    args,
    /--dev \/dev --dev-bind-try \/dev\/nvidia0 \/dev\/nvidia0 --size 1024 --perms 1777 --tmpfs \/dev\/shm --remount-ro \/dev/,
  );
});
