// A file far larger than the memory that anybody may take for it: committed, served, pulled over HTTP (and the pull
// killed on the way), checked out. What each process took at its peak is what the kernel says of it (VmHWM).
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  createReadStream,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statfsSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { scratchFolder } from './testing/scratch.ts';
import { treelineBin } from './testing/treeline-server.ts';

const MIB = 1024 ** 2;
const BLOCK_BYTES = 4 * MIB;
const BLOCKS = 750;
const MEMORY_LIMIT = 400e6;
const NEEDED_BYTES = 12 * 1024 ** 3;

/** A `treeline repo …` that runs, and the most memory that it has had so far, in bytes. */
class Measured {
  readonly child: ChildProcess;
  peak = 0;
  output = '';
  readonly ended: Promise<number | null>;
  readonly #timer: NodeJS.Timeout;

  constructor(args: string[]) {
    this.child = spawn(process.execPath, [treelineBin, 'repo', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      stream.on('data', (chunk: Buffer) => {
        this.output += chunk.toString();
      });
    }
    // The peak never falls, so that the last look before the end misses what comes after it only.
    this.#timer = setInterval(() => this.look(), 10);
    this.ended = once(this.child, 'close').then(([status]) => {
      clearInterval(this.#timer);
      return status as number | null;
    });
  }

  look(): void {
    try {
      const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.child.pid}/status`, 'latin1'))?.[1];
      this.peak = Math.max(this.peak, Number(kilobytes ?? 0) * 1024);
    } catch {
      // it has ended
    }
  }
}

/** Runs a verb to its end; fails if it fails or takes more memory than it may. Returns what it said. */
async function repo(t: TestContext, path: string, ...args: string[]): Promise<string> {
  const started = performance.now();
  const process = new Measured([`--repo=${path}`, ...args]);
  const status = await process.ended;
  tell(t, args[0]!, { started, peak: process.peak });
  assert.equal(status, 0, process.output);
  assertSmall(args[0]!, process.peak);
  return process.output;
}

function tell(t: TestContext, what: string, { started, peak }: { started: number; peak?: number }): void {
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  t.diagnostic(`${what}: ${seconds} s${peak === undefined ? '' : `, ${Math.round(peak / MIB)} MiB at most`}`);
}

function mega(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`;
}

function assertSmall(what: string, peak: number): void {
  assert.ok(peak > 0, `${what}: its memory was never seen`);
  assert.ok(peak < MEMORY_LIMIT, `${what} took ${Math.round(peak / MIB)} MiB, more than ${MEMORY_LIMIT / 1e6} MB`);
}

/**
 * Writes 3 GB that compress to an eighth: each block begins with noise and goes on with zeros, and numbers in both make
 * it differ from every other. Returns its SHA-256.
 */
function makeLargeFile(path: string): string {
  const block = Buffer.alloc(BLOCK_BYTES);
  randomFillSync(block, 0, BLOCK_BYTES / 8);
  const hash = createHash('sha256');
  const fd = openSync(path, 'wx');
  for (let number = 0; number < BLOCKS; number++) {
    block.writeUInt32LE(number, 0);
    block.writeUInt32LE(number, BLOCK_BYTES / 2);
    hash.update(block);
    for (let at = 0; at < block.length; ) at += writeSync(fd, block, at);
  }
  closeSync(fd);
  return hash.digest('hex');
}

/** Kills a pull when it has received a good part of the large object. Returns the bytes that were there then. */
async function killOnTheWay(t: TestContext, client: string, { objectBytes }: { objectBytes: number }): Promise<number> {
  const started = performance.now();
  const pull = new Measured([`--repo=${client}`, 'pull', 'origin', 'large']);
  const folder = join(client, 'tmp/treeline-partial');
  let received = 0;
  while (received < objectBytes / 4 && pull.child.exitCode === null && pull.child.signalCode === null) {
    await sleep(2);
    received = sizeOfPartial(folder);
  }
  pull.look();
  pull.child.kill('SIGKILL');
  assert.equal(await pull.ended, null, `the pull ended before it could be killed:\n${pull.output}`);
  tell(t, `pull, killed after ${Math.round(received / MIB)} MiB`, { started, peak: pull.peak });
  assertSmall('pull', pull.peak);
  return sizeOfPartial(folder);
}

function sizeOfPartial(folder: string): number {
  try {
    const name = readdirSync(folder).find((one) => one.endsWith('.filez'));
    return name ? statSync(join(folder, name)).size : 0;
  } catch {
    return 0;
  }
}

/** The size of the one content object of a repository. */
function contentObjectBytes(path: string): number {
  const objects = readdirSync(join(path, 'objects'), { recursive: true, encoding: 'utf8' });
  const content = objects.filter((name) => name.endsWith('.filez'));
  assert.equal(content.length, 1);
  return statSync(join(path, 'objects', content[0]!)).size;
}

const { bavail, bsize } = statfsSync(tmpdir());
const free = bavail * bsize;
const skip =
  process.platform !== 'linux'
    ? 'peak memory is read from /proc, which only Linux has'
    : free < NEEDED_BYTES &&
      `${tmpdir()} has ${(free / 1e9).toFixed(1)} GB free, and this takes 12 GB (TMPDIR=… elsewhere)`;

test('a file of 3 GB goes through in less than 400 MB of memory, and a killed pull goes on', { skip }, async (t) => {
  const folder = scratchFolder(t);
  const [tree, origin, client, out] = ['tree', 'origin', 'client', 'out'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
    string,
  ];
  mkdirSync(tree);
  const began = performance.now();
  const sha256 = makeLargeFile(join(tree, 'large'));
  tell(t, 'make the file', { started: began });

  await repo(t, origin, 'init', '--mode=archive');
  await repo(t, origin, 'commit', '-b', 'large', '-s', 'A large file', tree);
  const objectBytes = contentObjectBytes(origin);

  const server = new Measured([`--repo=${origin}`, 'serve']);
  t.after(() => server.child.kill('SIGKILL'));
  while (!server.output.includes('\n')) {
    assert.equal(server.child.exitCode, null, server.output);
    await sleep(20);
  }
  await repo(t, client, 'init', '--mode=archive');
  await repo(t, client, 'remote', 'add', '--no-gpg-verify', 'origin', server.output.trim());

  const received = await killOnTheWay(t, client, { objectBytes });
  const said = await repo(t, client, 'pull', 'origin', 'large');
  const transferred = Number(/ (\d+) KiB transferred/.exec(said)?.[1]) * 1024;
  t.diagnostic(`of ${mega(objectBytes)}, ${mega(received)} were there, and ${mega(transferred)} came`);
  // A little more than the rest of the file: the commit and its folders.
  assert.ok(transferred <= objectBytes - received + 1e6, said);
  server.look();
  assertSmall('serve', server.peak);
  t.diagnostic(`serve: ${Math.round(server.peak / MIB)} MiB at most`);
  server.child.kill('SIGTERM');
  await server.ended;

  await repo(t, client, 'checkout', '-U', 'origin:large', out);
  const hash = createHash('sha256');
  const last = performance.now();
  for await (const chunk of createReadStream(join(out, 'large'), { highWaterMark: MIB })) hash.update(chunk as Buffer);
  tell(t, 'read it again', { started: last });
  assert.equal(hash.digest('hex'), sha256);
  tell(t, 'all of it', { started: began });
});
