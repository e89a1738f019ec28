import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { deflateRawSync } from 'node:zlib';

// `node bench/limit.ts FOLDER sha256|sha256+deflate`: reads, hashes and perhaps compresses (raw deflate, level 6)
// every file and does nothing with it. No committer that does this work in Node can be faster than this program.

type Share = { files: string[]; deflate: boolean };

if (isMainThread) await main();
else work(workerData as Share);

async function main(): Promise<void> {
  const [folder = '.', kind = 'sha256'] = process.argv.slice(2);
  const shares = Array.from({ length: availableParallelism() }, () => ({ files: [] as string[], bytes: 0 }));
  const files = [...regularFiles(folder)].sort((a, b) => b.bytes - a.bytes);
  for (const { path, bytes } of files) {
    // Largest first to the least loaded: the threads end together.
    const share = shares.reduce((least, one) => (one.bytes < least.bytes ? one : least));
    share.files.push(path);
    share.bytes += bytes;
  }
  await Promise.all(
    shares.map((share) => {
      const data: Share = { files: share.files, deflate: kind === 'sha256+deflate' };
      const worker = new Worker(new URL(import.meta.url), { workerData: data });
      return new Promise<void>((resolve, reject) => worker.once('error', reject).once('exit', () => resolve()));
    }),
  );
}

function work({ files, deflate }: Share): void {
  for (const file of files) {
    const content = readFileSync(file);
    createHash('sha256').update(content).digest();
    if (deflate) deflateRawSync(content, { level: 6 });
  }
}

function* regularFiles(folder: string): Generator<{ path: string; bytes: number }> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* regularFiles(path);
    else if (entry.isFile()) yield { path, bytes: lstatSync(path).size };
  }
}
