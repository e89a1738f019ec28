import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { treeline } from '../testing/command.ts';
import { playedDebian } from '../testing/played-debian.ts';

// `treeline ostreeify` and `treeline image`, one after the other as people use them: real tools, a small system.

const needsRoot = process.getuid?.() === 0 ? false : 'files of a system belong to whom it says: needs root';
const MIB = 2 ** 20;

let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'treeline-cli-image-'));
  playedDebian(join(folder, 'root'));
  execFileSync('ostree', ['init', '--repo=repo', '--mode=archive'], { cwd: folder });
  writeFileSync(
    join(folder, 'board.yaml'),
    'name: tiny\narchitecture: x86_64\nboot: {loader: grub}\nimage: {size: 160M, esp: 40M}\n',
  );
});
after(() => rmSync(folder, { recursive: true, force: true }));

const call = (...args: string[]) => treeline(args, { cwd: folder, env: { COLUMNS: '80' } });
/** As one line: where a message is broken depends on the folder's name. */
const flat = (text: string) => text.replace(/\s+/g, ' ').trim();
const tooWide = (text: string) => text.split('\n').filter((line) => line.length > 80);
const leftovers = () => readdirSync(folder).filter((name) => name.startsWith('.'));

describe('treeline ostreeify, treeline image', { skip: needsRoot }, () => {
  test('a root file system becomes a folder, and a commit; what is a tree already is said to be', async () => {
    const made = await call('ostreeify', 'root', 'tree', '--hostname', 'robot-7');
    assert.deepEqual([made.code, made.stderr], [0, '']);
    assert.match(
      made.stdout,
      /\/tree played 1, x86_64 \(.*\)\n {2}kernel {5}6\.1-played\n {2}initramfs {2}24 B, by initramfs-tools\n {2}\/var {7}\d+ entries, made again by \d+ lines of tmpfiles\.d\n {2}removed {4}\/etc\/passwd-\n$/,
    );
    assert.equal(readFileSync(join(folder, 'tree/usr/etc/hostname'), 'utf8'), 'robot-7\n');

    const committed = await call(
      'ostreeify',
      'root',
      '--repo',
      'repo',
      '--ref',
      'os/base',
      '--subject',
      'Base',
      '--json',
    );
    assert.deepEqual([committed.code, committed.stderr], [0, '']);
    const { commit, milliseconds, ...facts } = JSON.parse(committed.stdout) as Record<string, unknown>;
    assert.equal(
      execFileSync('ostree', ['rev-parse', '--repo=repo', 'os/base'], { cwd: folder, encoding: 'utf8' }).trim(),
      commit,
    );
    assert.equal(typeof milliseconds, 'number');
    assert.deepEqual(
      [facts.folder, facts.already, facts.system, facts.architecture, facts.kernel],
      [null, false, 'played 1', 'x86_64', '6.1-played'],
    );

    const again = await call('ostreeify', 'os/base', '--from-repo', 'repo', 'second');
    assert.match(again.stdout, /\/second is the same tree: the source was made for OSTree already\n$/);
    const full = await call('ostreeify', 'root', 'tree');
    assert.equal(full.code, 6);
    assert.match(full.stderr, /is there and not empty\n {2}Name a folder that does not exist yet\.\n$/);
    assert.deepEqual(leftovers(), []);
  });

  test('what a root file system lacks is a list that fits the terminal, and a document with --json', async () => {
    mkdirSync(join(folder, 'half/usr/lib/systemd'), { recursive: true });
    writeFileSync(join(folder, 'half/usr/lib/systemd/systemd'), '');
    const { code, stdout, stderr } = await call('ostreeify', 'half', 'never');
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(flat(stderr), /half cannot be made a system that boots: 11 things are missing or wrong \/bin/);
    assert.match(stderr, /^ {2}udev is not installed \(apt-get install udev\)$/m);
    // What goes on of an item is indented below it.
    assert.match(stderr, /^ {2}\/bin, \/sbin, \/lib: no link into \/usr.*\n {4}\S/m);
    assert.match(stderr, /\n {2}Nothing was changed\.[^.]*again\.\n$/);
    assert.deepEqual(tooWide(stderr), []);
    const json = await call('ostreeify', 'half', 'never', '--json');
    const { error } = JSON.parse(json.stderr) as { error: { code: string; message: string; exitCode: number } };
    assert.deepEqual([json.code, error.code, error.exitCode], [1, 'failed', 1]);
    assert.ok(!existsSync(join(folder, 'never')));
  });

  test('ostreeify refuses, before it does anything, what cannot be', async () => {
    writeFileSync(join(folder, 'text'), 'no tar\n');
    mkdirSync(join(folder, 'empty'));
    for (const [args, exit, complaint] of [
      [[], 2, /Missing required argument 'source'/],
      [['none', 'x'], 5, /there is no folder or file none Give the folder or tar that mmdebstrap/],
      [['text', 'x'], 2, /\/text cannot be unpacked: This does not look like a tar/],
      [['empty', 'x'], 2, /is no root file system: there is no usr in it/],
      [['root'], 2, /Say where the tree goes: a folder, or both --repo and --ref/],
      [['root', '--repo', 'repo'], 2, /a folder, or both/],
      [['root', '--repo', 'none', '--ref', 'a'], 5, /none: not an OSTree repository/],
      [['root', '--repo', 'repo', '--ref', '../a'], 2, /"\.\.\/a" is no name for a ref/],
      [['a', 'x', '--from-repo', 'repo'], 5, /'a' not found/],
      [['root', 'x', '--hostname', 'a b; reboot'], 2, /"a b; reboot" is no host name/],
      [['root', 'x', '--modules', 'ext4,$(reboot)'], 2, /"\$\(reboot\)" is no name of a kernel module/],
      [['root', 'x', '--kernel', '../6.1'], 1, /there is no kernel \.\.\/6\.1 \(there are: 6\.1-played\)/],
      // What is named must not drive the terminal.
      [['root\u001b[31m\u0007', 'x'], 5, /there is no folder or file root Give/],
    ] as const) {
      const { code, stdout, stderr } = await call('ostreeify', ...args);
      assert.deepEqual([code, stdout], [exit, ''], `${args.join(' ')}: ${stderr}`);
      assert.match(flat(stderr), complaint);
      assert.deepEqual(tooWide(stderr.replaceAll(folder, '')), [], stderr);
    }
    assert.ok(!existsSync(join(folder, 'x')));
    assert.deepEqual(leftovers(), []);
  });

  test('a commit of a repository becomes an image, compressed as its name says, with its map', async () => {
    const common = ['image', 'os/base', '--repo', 'repo', '--board', './board.yaml'];
    writeFileSync(join(folder, 'enrol.json'), '{"gateway": "https://192.168.1.5:8421", "token": "t"}');
    const made = await call(...common, '--out', 'out/os.img.zst', '--enrol', 'enrol.json');
    assert.deepEqual([made.code, made.stderr], [0, '']);
    assert.match(
      made.stdout,
      /os\.img\.zst \S+ [kM]B, a disk of 168 MB \(.*\)\n {2}boots {2}[0-9a-f]{10} on tiny\n {2}map {4}\S*os\.img\.bmap: \S+ MB to write\n$/,
    );
    assert.deepEqual(tooWide(made.stdout), []);
    assert.deepEqual(readdirSync(join(folder, 'out')).sort(), ['os.img.bmap', 'os.img.zst']);

    const json = await call(...common, '--out', 'os.img', '--json');
    assert.deepEqual([json.code, json.stderr], [0, '']);
    const document = JSON.parse(json.stdout) as Record<string, unknown>;
    assert.deepEqual(
      [document.path, document.bmap, document.board, document.imageBytes],
      [join(folder, 'os.img'), join(folder, 'os.img.bmap'), 'tiny', 160 * MIB],
    );
    assert.equal(statSync(join(folder, 'os.img')).size, 160 * MIB);
    assert.deepEqual(leftovers(), []);
  });

  test('image refuses, before it does anything, what cannot be', async () => {
    writeFileSync(join(folder, 'bad.yaml'), 'name: x\narchitecture: sparc\nboot: {loader: grub}\nimage: {size: 1G}\n');
    writeFileSync(join(folder, 'http.json'), '{"gateway": "http://x", "token": "t"}');
    const from = ['os/base', '--repo', 'repo'];
    const board = ['--board', './board.yaml'];
    const out = ['--out', 'x.img'];
    for (const [args, exit, complaint] of [
      [[...from, ...board], 2, /--out <file>' not specified/],
      [[...from, ...out, '--board', 'nope'], 5, /there is no board nope There are: .*qemu-x86_64/],
      [[...from, ...out, '--board', './text'], 2, /\.\/text:1:1: the file: expected keys such as name: my-board/],
      [[...from, ...out, '--board', './bad.yaml'], 2, /\.\/bad\.yaml:2:\d+: architecture: /],
      [[...from, ...board, '--out', 'x.iso'], 2, /x\.iso is no name for an image NAME\.img is a raw image/],
      [[...from, ...board, '--out', 'x.img.gz'], 2, /x\.img\.gz is no name/],
      [[...from, ...board, '--out', 'text/x.img'], 2, /\/text is no folder/],
      [['none', '--repo', 'repo', ...board, ...out], 5, /'none' not found/],
      [['os/base', ...board, ...out], 3, /No server is running here/],
      [[...from, ...board, ...out, '--enrol', 'none.json'], 5, /There is no none\.json\. It is JSON such as/],
      [[...from, ...board, ...out, '--enrol', 'text'], 2, /text is no JSON/],
      [[...from, ...board, ...out, '--enrol', 'http.json'], 2, /has to name a gateway \(https:/],
      [[...from, ...board, ...out, '--remote', 'origin'], 2, /A remote has a name, an address and a ref/],
      [[...from, ...board, ...out, '--remote-ref', 'a'], 2, /are for --remote/],
      [
        [...from, ...board, ...out, '--remote', 'o=https://x/r', '--remote-ref', 'a', '--remote-keys', 'none.gpg'],
        5,
        /There is no none\.gpg/,
      ],
    ] as const) {
      const { code, stdout, stderr } = await call('image', ...args);
      assert.deepEqual([code, stdout], [exit, ''], `${args.join(' ')}: ${stderr}`);
      assert.match(flat(stderr), complaint);
      assert.deepEqual(tooWide(stderr.replaceAll(folder, '')), [], stderr);
    }
    assert.ok(!existsSync(join(folder, 'x.img')));
    assert.deepEqual(leftovers(), []);
  });
});
