import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { applyPart, readPart } from '../../../delta/apply-part.ts';
import { bspatch } from '../../../delta/bspatch.ts';
import { decodeDeltaIndex, encodeDeltaIndex } from '../../../delta/index-file.ts';
import { deltaFolder, deltaName, parseDeltaName } from '../../../delta/names.ts';
import { readOperations } from '../../../delta/operations.ts';
import { decodePayload } from '../../../delta/part.ts';
import { decodeSuperblock, encodeSignedSuperblock, encodeSuperblock } from '../../../delta/superblock.ts';
import { xzDecompress } from '../../../fs/lzma.ts';
import type { ObjectTarget } from '../../../work/store-file.ts';
import { noise } from '../../sample-repo.ts';
import { ostree } from '../../scratch.ts';
import { assertStable, type FuzzScratch, type FuzzTarget, PromiseBroken } from '../target.ts';

const LIMIT = { output: 8 * 1024 * 1024, memory: 128 * 1024 * 1024, object: 'x' };

/** Deltas that libostree makes: of text and noise that changed, with and without bsdiff, and from scratch. */
function realDeltas(inside: string) {
  const repo = join(inside, 'delta-repo');
  const folder = join(inside, 'delta-folder');
  ostree('init', `--repo=${repo}`, '--mode=bare-user');
  const commits = [1, 2].map((version) => {
    mkdirSync(join(folder, 'sub'), { recursive: true });
    const text = Array.from({ length: 300 }, (_, line) => `line ${line % 7 === 0 ? version : 0} ${line}\n`).join('');
    writeFileSync(join(folder, 'text'), text);
    writeFileSync(join(folder, 'sub/noise'), Buffer.concat([noise(3000), noise(500, version), noise(3000, 9)]));
    writeFileSync(join(folder, `only-${version}`), `only in ${version}`, { mode: 0o755 });
    const options = ['-b', 'main', '--canonical-permissions', `--timestamp=@${version}`];
    return ostree('commit', `--repo=${repo}`, ...options, `--tree=dir=${folder}`);
  }) as [string, string];
  const [from, to] = commits;
  ostree('static-delta', 'generate', `--repo=${repo}`, `--from=${from}`, `--to=${to}`);
  ostree('static-delta', 'generate', `--repo=${repo}`, '--inline', '--empty', `--to=${to}`);
  const file = (older: string | null, name: string) => readFileSync(join(repo, deltaFolder(older, to), name));
  const superblocks = [file(from, 'superblock'), file(null, 'superblock')].map(atFixedTime);
  return { repo, from, to, superblocks, part: file(from, '0') };
}

/** The time at which it was made would make each run another one. */
function atFixedTime(superblock: Buffer): Buffer {
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(BigInt(decodeSuperblock(superblock).timestamp));
  superblock.writeBigUInt64BE(1_700_000_000n, superblock.indexOf(time));
  return superblock;
}

export function makeTargets({ inside }: FuzzScratch): FuzzTarget[] {
  const real = realDeltas(inside);
  const header = decodeSuperblock(real.superblocks[0]!).parts[0]!;
  const payload = Buffer.from(xzDecompress(real.part.subarray(1), LIMIT));
  const { blob, operations, modes, xattrs } = decodePayload(payload, header.objects.length, 'x');
  const plainPart = Buffer.concat([Buffer.from([0]), payload]);
  const staging = join(inside, 'delta-staging');
  const target: ObjectTarget = {
    mode: 'bare-user',
    ignoreXattrs: false,
    objects: join(real.repo, 'objects'),
    staging,
    level: 6,
  };
  const signatures = [['ostree.sign.ed25519', { type: 'aay', value: [Buffer.alloc(64)] }]] as const;
  const old = noise(4000);
  const control = (add: number, extra: number, seek: number) => {
    const data = Buffer.alloc(24);
    for (const [index, value] of [add, extra, seek].entries()) {
      data.writeBigUInt64LE(BigInt(Math.abs(value)) | (value < 0 ? 1n << 63n : 0n), 8 * index);
    }
    return data;
  };
  return [
    {
      name: 'delta-superblock',
      cost: 'memory',
      samples: [...real.superblocks, encodeSignedSuperblock(real.superblocks[0]!, signatures)],
      feed(input) {
        const { signed, ...superblock } = decodeSuperblock(input);
        if (superblock.endianness === 'invalid' || superblock.guessed) return;
        const { endianness } = superblock;
        const again = decodeSuperblock(encodeSuperblock({ ...superblock, metadata: [], endianness }));
        assertStable(
          { ...again, metadata: [], signed: null, parents: 0 },
          { ...superblock, metadata: [], signed: null, parents: 0 },
        );
      },
    },
    {
      name: 'delta-part',
      cost: 'memory',
      samples: [plainPart, real.part],
      feed: (input) => void readPart({ part: input, verify: false, object: 'x', header }),
    },
    {
      name: 'delta-operations',
      cost: 'memory',
      samples: [Buffer.from(operations)],
      feed(input) {
        const { objects } = header;
        const limits = { objects, blobLength: blob.length, modes: modes.length, xattrs: xattrs.length, object: 'x' };
        let count = 0;
        for (const operation of readOperations(input, limits)) {
          if (++count > input.length) throw new PromiseBroken('more operations than bytes');
          if ('offset' in operation && operation.offset < 0) throw new PromiseBroken('a negative offset');
        }
      },
    },
    {
      name: 'delta-apply',
      cost: 'disk',
      samples: [plainPart, real.part],
      // Into a staging folder of its own: what a part says can make nothing but the objects that it is to make.
      async feed(input) {
        rmSync(staging, { recursive: true, force: true });
        mkdirSync(staging);
        const task = { part: input, header, verify: false, temporary: join(staging, '.part'), object: 'x' };
        const { stored } = await applyPart(target, task);
        const wanted = new Set(header.objects.map(({ checksum }) => checksum));
        for (const { checksum } of stored) if (!wanted.has(checksum)) throw new PromiseBroken(`it made ${checksum}`);
      },
    },
    {
      name: 'delta-bspatch',
      cost: 'memory',
      samples: [
        Buffer.concat([control(100, 20, -50), Buffer.alloc(100, 1), noise(20), control(80, 0, 0), Buffer.alloc(80)]),
        Buffer.concat([control(0, 200, 0), noise(200)]),
      ],
      feed(input) {
        let bytes = 0;
        const content = {
          size: old.length,
          read(offset: number, length: number) {
            if (offset < 0 || offset + length > old.length) throw new PromiseBroken(`read ${offset}+${length}`);
            return old.subarray(offset, offset + length);
          },
        };
        const count = (piece: Uint8Array) => {
          bytes += piece.length;
        };
        bspatch(content, input, 200, count, 'x');
        if (bytes !== 200) throw new PromiseBroken(`${bytes} bytes instead of 200`);
      },
    },
    {
      name: 'delta-index',
      cost: 'memory',
      samples: [
        encodeDeltaIndex([]),
        encodeDeltaIndex([
          { from: real.from, to: real.to, superblock: 'a'.repeat(64) },
          { from: null, to: real.to, superblock: 'b'.repeat(64) },
        ]),
      ],
      feed(input) {
        const deltas = decodeDeltaIndex(input);
        assertStable(deltas, decodeDeltaIndex(encodeDeltaIndex(deltas)));
      },
    },
    {
      name: 'delta-name',
      cost: 'memory',
      samples: [Buffer.from(`${real.from}-${real.to}`), Buffer.from(real.to)],
      feed(input) {
        const { from, to } = parseDeltaName(input.toString('latin1'));
        assertStable(deltaName(from, to), input.toString('latin1'));
      },
    },
    {
      name: 'xz',
      cost: 'memory',
      samples: [real.part.subarray(1)],
      feed(input) {
        const length = xzDecompress(input, LIMIT).length;
        if (length > LIMIT.output) throw new PromiseBroken(`${length} bytes unpacked`);
      },
    },
  ];
}
