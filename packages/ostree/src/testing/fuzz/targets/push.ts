import { hash } from 'node:crypto';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { encodeDirMeta } from '../../../formats/dirmeta.ts';
import { encodeDirTree } from '../../../formats/dirtree.ts';
import { encodeFileHeader, encodeFilezHeader } from '../../../formats/file.ts';
import { encode } from '../../../gvariant/encode.ts';
import {
  decodeObjectList,
  decodeObjectStates,
  encodeObjectList,
  encodeObjectStates,
  type ObjectState,
} from '../../../push/object-list.ts';
import { encodePack, PackDecoder, type PackPiece } from '../../../push/pack.ts';
import { PushReceiver } from '../../../push/receiver.ts';
import { createRepo } from '../../../repo/repo.ts';
import { assertCanonical, type FuzzScratch, type FuzzTarget } from '../target.ts';

const header = { uid: 0, gid: 0, mode: 0o100644, symlinkTarget: '', xattrs: [] };
const content = Buffer.from('content of a file\n'.repeat(20));

function objectOf(type: PackPiece['type'], data: Buffer, checksum = hash('sha256', data)): PackPiece {
  return { type, checksum, total: data.length, offset: 0, data };
}

function pieces(): PackPiece[] {
  const filez = Buffer.concat([encodeFilezHeader(header, content.length), deflateRawSync(content)]);
  const file = hash('sha256', Buffer.concat([encodeFileHeader(header), content]));
  const meta = encodeDirMeta({ uid: 0, gid: 0, mode: 0o40755, xattrs: [] });
  const tree = encodeDirTree({ files: new Map([['f', file]]), dirs: new Map() });
  return [
    objectOf('file', filez, file),
    objectOf('dirmeta', meta),
    objectOf('dirtree', tree),
    objectOf('commitmeta', encode('a{sv}', [['note', { type: 's', value: 'x' }]]), 'ab'.repeat(32)),
  ];
}

async function packOf(all: readonly PackPiece[]): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of encodePack([all])) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The same in two records, the way large objects come. */
function inHalves({ data, ...piece }: PackPiece): PackPiece[] {
  const half = data.length >> 1;
  return [
    { ...piece, total: null, data: data.subarray(0, half) },
    { ...piece, offset: half, data: data.subarray(half) },
  ];
}

export async function makeTargets({ inside }: FuzzScratch): Promise<FuzzTarget[]> {
  const all = pieces();
  const samples = [await packOf(all), await packOf(all.flatMap(inHalves)), await packOf([])];
  const objects = all.map(({ type, checksum }) => ({ type, checksum }));
  const states: ObjectState[] = ['stored', 'received', 'missing', 12_345];
  const identity = { owner: 'fuzz', ref: 'main', commit: 'cd'.repeat(32) };
  let receiver: Promise<PushReceiver> | undefined;
  const open = async () => PushReceiver.open(await createRepo(join(inside, 'receiver')));
  return [
    {
      name: 'pack',
      cost: 'memory',
      samples,
      async feed(input) {
        const read: PackPiece[] = [];
        const decoder = new PackDecoder({
          begin: ({ length: _, ...record }) => void read.push({ ...record, data: Buffer.alloc(0) }),
          bytes(piece) {
            const last = read.at(-1)!;
            last.data = Buffer.concat([last.data, piece]);
          },
          end: () => {},
        });
        // In two chunks, cut where the input itself says.
        const cut = input.length === 0 ? 0 : input.readUInt8(input.length - 1) % (input.length + 1);
        decoder.push(input.subarray(0, cut));
        decoder.push(input.subarray(cut));
        decoder.finish();
        assertCanonical(input, await packOf(read));
      },
    },
    {
      name: 'push-object-list',
      cost: 'memory',
      samples: [encodeObjectList(objects), Buffer.alloc(0)],
      feed: (input) => assertCanonical(input, encodeObjectList(decodeObjectList(input))),
    },
    {
      name: 'push-object-states',
      cost: 'memory',
      samples: [encodeObjectStates(states)],
      feed: (input) => assertCanonical(input, encodeObjectStates(decodeObjectStates(input, states.length))),
    },
    {
      name: 'push-received-pack',
      cost: 'disk',
      samples,
      async feed(input) {
        receiver ??= open();
        const receiving = await receiver;
        const { id } = await receiving.open(identity);
        try {
          await receiving.receive(id, identity.owner, asStream(input));
        } finally {
          await receiving.abandon(id, identity.owner);
        }
      },
      async close() {
        await (await receiver)?.close();
      },
    },
  ];
}

async function* asStream(input: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < input.length; at += 64) yield input.subarray(at, at + 64);
}
