import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { basename } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { constants, createZstdCompress } from 'node:zlib';
import yazl from 'yazl';
import { searchPath } from '../command.ts';
import { BoardError } from '../errors.ts';

export type Compression = 'none' | 'xz' | 'zst' | 'zip';

/**
 * What the name of a file says that it is: `robot.img.xz`.
 *
 * @throws BoardError `invalid` for other names: what calls itself .qcow2 and is a raw image gets nobody anywhere
 */
export function compressionOf(path: string): Compression {
  const [, compression] = /.\.img(?:\.(xz|zst|zip))?$/.exec(basename(path)) ?? [null, null];
  if (compression !== null) return (compression as Compression | undefined) ?? 'none';
  throw new BoardError('invalid', `${basename(path)} is no name for an image`, {
    hint: 'NAME.img is a raw image; NAME.img.xz, NAME.img.zst and NAME.img.zip are compressed ones.',
  });
}

/** The name of the image inside: without the compression's. */
export function imageName(path: string): string {
  return basename(path).replace(/\.(xz|zst|zip)$/, '');
}

const CHUNK = 2 ** 20;

/**
 * Compresses an image as a stream. The same image gives the same bytes: no names of hosts, no times, and as many
 * threads' worth of blocks whatever the number of cores.
 *
 * @param o.name of the image inside of a zip
 */
export async function compressImage(
  source: string,
  target: string,
  compression: Exclude<Compression, 'none'>,
  o: { name: string; signal?: AbortSignal | undefined; onProgress?: ((done: number) => void) | undefined },
): Promise<void> {
  let done = 0;
  const input = createReadStream(source, { highWaterMark: CHUNK });
  input.on('data', (chunk) => {
    done += chunk.length;
    o.onProgress?.(done);
  });
  const output = createWriteStream(target);
  const signal = o.signal === undefined ? {} : { signal: o.signal };
  switch (compression) {
    case 'zst': {
      const params = { [constants.ZSTD_c_compressionLevel]: 10, [constants.ZSTD_c_checksumFlag]: 1 };
      return await pipeline(input, createZstdCompress({ params }), output, signal);
    }
    case 'xz':
      return await throughXz(input, output, o.signal);
    case 'zip': {
      const zip = new yazl.ZipFile();
      // A zip's times have no zone: the first day that it can write down.
      const options = { mtime: new Date(1980, 0, 1), mode: 0o100644, forceDosTimestamp: true };
      zip.addReadStream(input, o.name, options);
      zip.end();
      return await pipeline(zip.outputStream, output, signal);
    }
  }
}

/** Several threads compress blocks of one size, so that a machine with one core writes the same file. */
async function throughXz(
  input: NodeJS.ReadableStream,
  output: NodeJS.WritableStream,
  signal: AbortSignal | undefined,
): Promise<void> {
  const flags = ['--compress', '--stdout', '-6', '--check=crc64', '--threads=2', '--block-size=16MiB'];
  const child = spawn('xz', flags, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, PATH: searchPath(), LC_ALL: 'C' },
    ...(signal === undefined ? {} : { signal }),
  });
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-2000);
  });
  const ended = once(child, 'close') as Promise<[number | null]>;
  try {
    await Promise.all([pipeline(input, child.stdin), pipeline(child.stdout, output)]);
    const [code] = await ended;
    if (code !== 0) throw new BoardError('tool-failed', `xz failed (exit code ${code}): ${words}`);
  } catch (error) {
    child.kill();
    await ended.catch(() => {});
    signal?.throwIfAborted();
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      throw new BoardError('tool-missing', 'xz is not installed', { hint: 'apt-get install xz-utils', cause: error });
    }
    throw error;
  }
}
