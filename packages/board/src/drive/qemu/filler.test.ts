import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { BoardError } from '../../errors.ts';
import { fillImage } from './filler.ts';
import { findPartition } from './gpt.ts';

const MIB = 1024 ** 2;

test('the root file system of an image is filled up to what is to stay free, and given back', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'treeline-filler-'));
  try {
    const image = join(dir, 'disk.img');
    await writeFile(image, '');
    await truncate(image, 200 * MIB);
    await assert.rejects(findPartition(image, 'root'), (error: BoardError) => error.code === 'invalid');
    execFileSync('sgdisk', ['-n1:2048:+33M', '-c1:esp', '-n2:0:0', '-c2:root', image], { stdio: 'ignore' });
    assert.deepEqual(await findPartition(image, 'esp'), { offset: MIB, size: 33 * MIB });
    const { offset, size } = await findPartition(image, 'root');
    assert.equal(offset, 34 * MIB);
    await assert.rejects(findPartition(image, 'data'), (error: BoardError) => error.code === 'invalid');
    execFileSync('mkfs.ext4', ['-q', '-F', '-E', `offset=${offset}`, image, `${Math.floor(size / 1024)}k`]);
    const freeBytes = (): number => {
      const text = execFileSync('dumpe2fs', ['-h', `${image}?offset=${offset}`], { encoding: 'utf8', stdio: 'pipe' });
      const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1]);
      return field('Free blocks') * field('Block size');
    };
    const before = freeBytes();
    assert.ok(before > 100 * MIB);
    await fillImage(image, 20 * MIB);
    assert.ok(Math.abs(freeBytes() - 20 * MIB) < MIB, `${freeBytes()} bytes free`);
    // Exit status 0: nothing had to be repaired.
    execFileSync('e2fsck', ['-f', '-n', `${image}?offset=${offset}`], { stdio: 'pipe' });
    await fillImage(image, null);
    assert.ok(Math.abs(freeBytes() - before) < MIB);
    await fillImage(image, null);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
