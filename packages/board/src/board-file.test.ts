import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownBoards, parseBoardFile, readBoardFile } from './board-file.ts';
import { BoardError } from './errors.ts';

const good = `name: mine
architecture: x86_64
boot:
  loader: grub
image:
  size: 2G
`;

function refused(text: string): string {
  try {
    parseBoardFile(text, 'b.yaml');
  } catch (error) {
    assert.ok(error instanceof BoardError && error.code === 'invalid', String(error));
    return error.message;
  }
  throw new assert.AssertionError({ message: 'it was taken' });
}

test('every board that comes with Treeline is read, and is called what its file is', async () => {
  const names = await ownBoards();
  assert.deepEqual(names.sort(), ['jetson-uboot', 'qemu-aarch64', 'qemu-x86_64', 'raspberry-pi-4']);
  for (const name of names) assert.equal((await readBoardFile(name)).name, name);
});

test('sizes are bytes, and what is not said has a default', () => {
  const board = parseBoardFile(good, 'b.yaml');
  assert.deepEqual(
    [board.image.size, board.image.esp, board.image.start, board.boot['device-tree']],
    [2 * 2 ** 30, 64 * 2 ** 20, 2 ** 20, 'firmware'],
  );
});

test('everything that is wrong is said at its line and column', () => {
  assert.equal(
    refused(good.replace('grub', 'lilo').replace('2G', 'big').concat('colour: red\n')).replaceAll(/expected.*/g, '…'),
    [
      'b.yaml:4:3: boot.loader: Invalid option: …',
      'b.yaml:6:3: image.size: a size is a number with K, M, G or T, such as 2G',
      'b.yaml:7:1: colour: there is no such key',
    ].join('\n'),
  );
  assert.match(refused('name: [1'), /^b\.yaml:1:\d+: /);
  assert.match(refused(''), /^b\.yaml:1:1: the file: /);
  assert.match(refused(good.replace('2G', '1500K')), /image\.size: a size must be whole MiB/);
  assert.match(refused(`${good}  esp: 8M\n`), /image\.esp: a FAT32 file system has 34M/);
});

test('a board file names nothing of the machine but what packages install there', () => {
  const withFile = (file: string) => `${good}  files:\n    - ${file}\n`;
  assert.match(
    refused(withFile('{from: /etc/shadow, in: host, to: a}')),
    /only what is below \/usr\/lib and \/usr\/share/,
  );
  assert.match(refused(withFile('{from: /usr/lib/../../etc/shadow, in: host, to: a}')), /image\.files/);
  assert.match(refused(withFile('{from: /usr/lib/x, to: ../a}')), /image\.files/);
  parseBoardFile(withFile('{from: /usr/lib/u-boot/x/u-boot.bin, in: host, to: u-boot.bin}'), 'b.yaml');
});

test('a board that is not there is answered with those that are', async () => {
  await assert.rejects(readBoardFile('toaster'), (error: BoardError) => {
    return error.code === 'not-found' && /qemu-x86_64/.test(error.hint ?? '');
  });
});
