import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAttributes } from './attributes.ts';
import { upperOf } from './overlay.ts';

/** A line of /proc/self/mountinfo. */
const mounted = (at: string, type: string, options: string, root = '/') =>
  `72 71 0:39 ${root} ${at} rw,relatime shared:1 - ${type} source ${options}\n`;

const DISK = mounted('/', 'ext4', 'rw', '/ostree/deploy/robot/deploy/c0ffee.0');

test('the folder that takes what is written to /usr is that of the last overlay over it', () => {
  const unlocked = mounted('/usr', 'overlay', 'rw,lowerdir=usr,upperdir=/var/tmp/ostree-unlock-ovl.A1/upper,workdir=w');
  const hotfix = mounted('/usr', 'overlay', 'rw,lowerdir=usr,upperdir=.usr-ovl-upper,workdir=.usr-ovl-work');
  const readOnly = mounted('/usr', 'ext4', 'ro', '/ostree/deploy/robot/deploy/c0ffee.0/usr');
  assert.equal(upperOf(DISK + readOnly, '/usr'), null);
  assert.equal(upperOf(DISK + readOnly + unlocked, '/usr'), '/var/tmp/ostree-unlock-ovl.A1/upper');
  assert.equal(upperOf(DISK + hotfix, '/usr'), '.usr-ovl-upper');
  assert.equal(upperOf(DISK + unlocked + readOnly, '/usr'), null, 'what was mounted later hides it');
  assert.equal(upperOf(DISK + mounted('/usr/local', 'overlay', 'rw,upperdir=/x'), '/usr'), null);
  assert.equal(upperOf(DISK + mounted('/u', 'overlay', 'rw,upperdir=/x'), '/usr'), null);
});

test('a system whose root is an overlay, for composefs or to forget what is written', () => {
  assert.equal(upperOf(mounted('/', 'overlay', 'ro,lowerdir+=/run/x,redirect_dir=on'), '/usr'), null);
  assert.equal(upperOf(mounted('/', 'overlay', 'rw,upperdir=/run/upper'), '/usr'), '/run/upper/usr');
  assert.equal(
    upperOf(mounted('/usr', 'overlay', 'rw,upperdir=/run/up\\040per\\054x', '/usr'), '/usr'),
    '/run/up per,x/usr',
  );
});

test('what getfattr writes is read, whatever is in names and values', () => {
  const text = `# file: /a\\040b\\012c\nuser.empty\nuser.zero=0x\nuser.x\\075y=0x00ff\n\n# file: /ü\nsecurity.z=0x41\n\n`;
  assert.deepEqual(
    [...parseAttributes(text)],
    [
      [
        '/a b\nc',
        [
          { name: 'user.empty', value: '' },
          { name: 'user.zero', value: '' },
          { name: 'user.x=y', value: 'AP8=' },
        ],
      ],
      ['/ü', [{ name: 'security.z', value: 'QQ==' }]],
    ],
  );
});
