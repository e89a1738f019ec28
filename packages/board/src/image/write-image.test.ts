import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parseBoardFile } from '../board-file.ts';
import type { BoardError } from '../errors.ts';
import { makeSystemRepo, needsRoot } from '../testing/system-repo.ts';
import { writeImage } from './write-image.ts';

const MIB = 2 ** 20;
const board = (extra = '') =>
  parseBoardFile(
    `name: small\narchitecture: x86_64\nboot: {loader: grub, kernel-arguments: [console=ttyS0]}\nimage:\n  size: 160M\n  esp: 40M\n${extra}`,
    'small.yaml',
  );

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
}

/** What e2fsck, fsck.vfat and sgdisk say about an image; they fail when something is wrong. */
function check(image: string, folder: string): void {
  assert.match(run('sgdisk', '-v', image), /No problems found/);
  run('e2fsck', '-fn', `${image}?offset=${41 * MIB}`);
  const esp = join(folder, 'esp.img');
  run('dd', `if=${image}`, `of=${esp}`, 'bs=1M', 'skip=1', 'count=40', 'status=none');
  run('fsck.vfat', '-n', esp);
}

const sha = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');
const inRoot = (image: string, command: string) => run('debugfs', '-R', command, `${image}?offset=${41 * MIB}`);

describe('a disk image', { skip: needsRoot }, () => {
  let folder = '';
  let repo = '';
  let commit = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'treeline-image-'));
    const made = makeSystemRepo(folder);
    repo = made.repo;
    commit = made.commit('a');
    made.commit('no-kernel');
    run('rm', '-r', join(folder, 'tree-no-kernel/usr/lib/modules'));
    run('ostree', 'commit', `--repo=${repo}`, '-b', 'no-kernel', `--tree=dir=${join(folder, 'tree-no-kernel')}`);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  test('has sound partitions and file systems, the deployment, its protection, and the enrolment', async () => {
    const path = join(folder, 'a.img');
    const enrolment = '{"gateway":"https://x:1","token":"t"}\n';
    const made = await writeImage(path, { repo, commit: 'a', board: board(), enrolment });
    assert.deepEqual([made.commit, made.imageBytes, made.board], [commit, 160 * MIB, 'small']);
    check(path, folder);
    assert.match(run('sgdisk', '-p', path), /1 +2048 +83967 .*EF00 +esp\n +2 +83968 .*8300 +root/);
    const deployment = `/ostree/deploy/treeline/deploy/${commit}.0`;
    assert.equal(inRoot(path, `cat ${deployment}/etc/hostname`), 'test\n');
    assert.match(inRoot(path, `stat ${deployment}`), /Flags: 0x80010/);
    assert.equal(inRoot(path, 'cat /ostree/deploy/treeline/var/lib/treeline/enrol.json'), enrolment);
    assert.match(inRoot(path, 'stat /ostree/deploy/treeline/var/lib/treeline/enrol.json'), /Mode: +0600/);
    const config = inRoot(path, 'cat /boot/loader/syslinux.cfg');
    assert.match(config, /APPEND root=LABEL=root rw panic=5 rd\.shell=0 rd\.emergency=reboot console=ttyS0 ostree=\//);
    assert.match(inRoot(path, 'cat /ostree/repo/config'), /bootloader=syslinux\nreadonly=true/);
    const env = run('mtype', '-i', `${path}@@${MIB}`, '::grubenv');
    assert.equal(env.length, 1024);
    assert.match(env, /^# GRUB Environment Block\nboot_success=1\n#+$/);
    // A sparse file, of which little is on this disk.
    assert.ok(statSync(path).blocks * 512 < 80 * MIB);
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.startsWith('.')),
      [],
    );
  });

  test('is the same bytes for the same input, wherever and whenever it is made', async () => {
    const first = join(folder, 'first.img');
    const other = join(folder, 'elsewhere/other.img');
    mkdirSync(join(folder, 'elsewhere'));
    await writeImage(first, { repo, commit, board: board() });
    const umask = process.umask(0o077);
    // FAT counts in steps of two seconds.
    await new Promise((resolve) => setTimeout(resolve, 2100));
    await writeImage(other, { repo, commit, board: board() });
    process.umask(umask);
    run('cmp', first, other);
    run('cmp', `${first}.bmap`, `${other}.bmap`);
  });

  test('compressed, it is the same image; bmaptool writes it onto a disk that held something else', async () => {
    const plain = join(folder, 'plain.img');
    await writeImage(plain, { repo, commit, board: board() });
    for (const [suffix, unpack] of [
      ['xz', ['xz', '-dc']],
      ['zst', ['zstd', '-dcq']],
      [
        'zip',
        [
          'python3',
          '-c',
          'import sys,zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).open("c.img").read())',
        ],
      ],
    ] as const) {
      const path = join(folder, `c.img.${suffix}`);
      const seen = new Set<string>();
      const made = await writeImage(path, { repo, commit, board: board(), onStep: (step) => seen.add(step) });
      assert.deepEqual([...seen], ['sysroot', 'boot-loader', 'file-systems', 'block-map', 'compress']);
      assert.ok(made.fileBytes < 8 * MIB, `${suffix}: ${made.fileBytes}`);
      const [command, ...args] = [...unpack, path];
      const bytes = execFileSync(command, args, { maxBuffer: 200 * MIB });
      assert.equal(createHash('sha256').update(bytes).digest('hex'), sha(plain), suffix);
      const again = createHash('sha256').update(readFileSync(path)).digest('hex');
      rmSync(path);
      await writeImage(path, { repo, commit, board: board() });
      assert.equal(sha(path), again, `${suffix} is the same each time`);
    }
    // It checks its own checksum, and that of each range.
    run('bmaptool', 'copy', join(folder, 'c.img.xz'), join(folder, 'copied'));
    run('cmp', plain, join(folder, 'copied'));
    // A card that held something else, of which what the map leaves out stays.
    const image = readFileSync(plain);
    const disk = Buffer.alloc(image.length, 0xff);
    let mapped = 0;
    for (const [, first, last] of readFileSync(join(folder, 'c.img.bmap'), 'utf8').matchAll(
      /<Range[^>]*> (\d+)(?:-(\d+))? </g,
    )) {
      const [start, end] = [Number(first) * 4096, (Number(last ?? first) + 1) * 4096];
      image.copy(disk, start, start, end);
      mapped += end - start;
    }
    assert.ok(mapped < 80 * MIB, `${mapped} of ${image.length} bytes are written`);
    writeFileSync(join(folder, 'card'), disk);
    check(join(folder, 'card'), folder);
  });

  test('takes files and raw loaders that the board file names, and no link out of the system', async () => {
    const extra = `  start: 2M\n  files:\n    - {from: /usr/lib/modules/*/vmlinuz, to: fw/kernel}\n    - {text: "a=1", to: config.txt}\n  raw:\n    - {from: /usr/lib/os-release, in: system, at: 64K}\n`;
    const path = join(folder, 'files.img');
    await writeImage(path, { repo, commit, board: board(extra) });
    assert.equal(run('mtype', '-i', `${path}@@${2 * MIB}`, '::fw/kernel'), 'no kernel: a');
    assert.equal(run('mtype', '-i', `${path}@@${2 * MIB}`, '::config.txt'), 'a=1');
    assert.match(readFileSync(path).subarray(65536, 65600).toString('latin1'), /^NAME=Test\n/);
    const missing = `  files:\n    - {from: /usr/lib/none.bin, package: firmware-none, to: x}\n`;
    await assert.rejects(writeImage(path, { repo, commit, board: board(missing) }), (error: BoardError) => {
      return error.code === 'tool-missing' && error.hint === 'apt-get install firmware-none';
    });
    const tree = join(folder, 'tree-link');
    run('cp', '-a', join(folder, 'tree-a'), tree);
    run('ln', '-s', '/etc/shadow', join(tree, 'usr/lib/secret'));
    run('ostree', 'commit', `--repo=${repo}`, '-b', 'link', `--tree=dir=${tree}`);
    const link = `  files:\n    - {from: /usr/lib/secret, to: x}\n`;
    await assert.rejects(writeImage(path, { repo, commit: 'link', board: board(link) }), /which is not in the system/);
  });

  test('for U-Boot, has what its search finds and counts, and nothing that systemd would mount by a guess', async () => {
    const path = join(folder, 'uboot.img');
    const file = parseBoardFile(
      'name: arm\narchitecture: aarch64\nboot: {loader: uboot, kernel-arguments: [console=ttyAMA0]}\nimage: {size: 160M, esp: 40M}\n',
      'arm.yaml',
    );
    await writeImage(path, { repo, commit, board: file });
    check(path, folder);
    // U-Boot's search looks into partitions that are marked, and runs boot.scr.
    assert.match(run('sgdisk', '-i=1', path), /Attribute flags: 0000000000000004/);
    assert.match(run('mtype', '-i', `${path}@@${MIB}`, '::boot.scr'), /booti \$\{kernel_addr_r\}/);
    assert.equal(run('mtype', '-i', `${path}@@${MIB}`, '::uboot.env'), 'upgrade_available=0\nbootcount=0\n');
    const config = inRoot(path, 'cat /boot/loader/uEnv.txt');
    assert.match(config, /^kernel_image=(\/boot)?\/ostree\/treeline-[0-9a-f]+\/vmlinuz-6\.1\.0-test$/m);
    assert.match(config, /^ramdisk_image=(\/boot)?\/ostree\/treeline-[0-9a-f]+\/initramfs-6\.1\.0-test\.img$/m);
    assert.match(
      config,
      /^bootargs=root=LABEL=root rw panic=5 .*systemd\.gpt_auto=0 console=ttyAMA0 ostree=\/ostree\/boot\.\d\/treeline\/\S+$/m,
    );
  });

  test('is not made of what cannot boot, and leaves what was there when it fails', async () => {
    const path = join(folder, 'none.img');
    await assert.rejects(
      writeImage(path, { repo, commit: 'no-kernel', board: board() }),
      /is no system: it has no kernel/,
    );
    await assert.rejects(writeImage(path, { repo, commit: 'nonsense', board: board() }), /not found/);
    assert.throws(
      () => parseBoardFile('name: x\narchitecture: x86_64\nboot: {loader: grub}\nimage: {size: 90M}\n', 'f'),
      /64M larger/,
    );
    mkdirSync(join(folder, 'tree-a/opt'));
    writeFileSync(join(folder, 'tree-a/opt/large'), randomBytes(110 * MIB));
    run('ostree', 'commit', `--repo=${repo}`, '-b', 'large', `--tree=dir=${join(folder, 'tree-a')}`);
    await assert.rejects(writeImage(path, { repo, commit: 'large', board: board() }), /does not fit into 118 MiB/);
    assert.ok(!existsSync(path));
    const controller = new AbortController();
    controller.abort(new DOMException('enough', 'AbortError'));
    await assert.rejects(writeImage(path, { repo, commit, board: board(), signal: controller.signal }), /enough/);
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.startsWith('.')),
      [],
    );
  });
});
