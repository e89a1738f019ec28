import { hash } from 'node:crypto';
import { deflateRawSync } from 'node:zlib';
import { decodeCommit, encodeCommit, type Metadata } from '../../../formats/commit.ts';
import { decodeDirMeta, encodeDirMeta } from '../../../formats/dirmeta.ts';
import { decodeDirTree, encodeDirTree } from '../../../formats/dirtree.ts';
import {
  decodeFileMetadata,
  decodeFilezHeader,
  encodeFileHeader,
  encodeFileMetadata,
  encodeFilezHeader,
  type FileHeader,
} from '../../../formats/file.ts';
import { formatKeyFile, parseKeyFile } from '../../../formats/keyfile.ts';
import { decodeSizes, encodeSizes } from '../../../formats/sizes.ts';
import { decodeSummary, encodeSummary } from '../../../formats/summary.ts';
import { decode } from '../../../gvariant/decode.ts';
import { encode, type Value } from '../../../gvariant/encode.ts';
import { verifyFilez } from '../../../work/import-object.ts';
import { assertCanonical, assertStable, type FuzzTarget } from '../target.ts';

const sum = (digit: string) => digit.repeat(64);
const xattrs: FileHeader['xattrs'] = [
  [Buffer.from('security.capability'), Buffer.from('0100000200200000', 'hex')],
  [Buffer.from('user.note'), Buffer.from('x')],
];
const plain: FileHeader = { uid: 0, gid: 0, mode: 0o100644, symlinkTarget: '', xattrs: [] };
const rich: FileHeader = { uid: 1000, gid: 100, mode: 0o104755, symlinkTarget: '', xattrs };
const link: FileHeader = { ...plain, mode: 0o120777, symlinkTarget: 'some/target' };

const metadata: Metadata = [
  ['version', { type: 's', value: '1.0' }],
  ['ostree.ref-binding', { type: 'as', value: ['main'] }],
  ['ostree.bootable', { type: 'b', value: true }],
];
const signatures: Value = [
  ['ostree.gpgsigs', { type: 'aay', value: [Buffer.alloc(90, 1)] }],
  ['ostree.sign.ed25519', { type: 'aay', value: [Buffer.alloc(64, 2), Buffer.alloc(64, 3)] }],
];

const content = Buffer.from('content of a file\n'.repeat(20));
const filez = Buffer.concat([encodeFilezHeader(rich, content.length), deflateRawSync(content)]);
const filezChecksum = hash('sha256', Buffer.concat([encodeFileHeader(rich), content]));

const config = `# comment
[core]
repo_version=1
mode=archive-z2

[remote "origin"]
url=https://example.org/repo
gpg-verify=false
branches=main;other;
custom backend=a\\sb\\nc
`;

export function makeTargets(): FuzzTarget[] {
  return [
    {
      name: 'dirtree',
      cost: 'memory',
      samples: [
        encodeDirTree({ files: new Map(), dirs: new Map() }),
        encodeDirTree({
          files: new Map([
            ['a', sum('1')],
            ['b.txt', sum('2')],
            ['süß', sum('3')],
          ]),
          dirs: new Map([
            ['d', { contents: sum('4'), meta: sum('5') }],
            ['e', { contents: sum('6'), meta: sum('5') }],
          ]),
        }),
        encodeDirTree({
          files: new Map(Array.from({ length: 30 }, (_, index) => [`file-${index}`, sum('a')])),
          dirs: new Map(),
        }),
      ],
      feed: (input) => assertCanonical(input, encodeDirTree(decodeDirTree(input, 'x.dirtree'))),
    },
    {
      name: 'dirmeta',
      cost: 'memory',
      samples: [plain, rich].map(({ uid, gid, mode, xattrs: list }) =>
        encodeDirMeta({ uid, gid, mode: 0o40000 | (mode & 0o7777), xattrs: list }),
      ),
      feed: (input) => assertCanonical(input, encodeDirMeta(decodeDirMeta(input, 'x.dirmeta'))),
    },
    {
      name: 'commit',
      cost: 'memory',
      samples: [null, sum('a')].map((parent) =>
        encodeCommit({
          metadata: parent ? metadata : [],
          parent,
          subject: 'subject',
          body: parent ? 'body\nof two' : '',
          timestamp: 1_700_000_000,
          tree: { contents: sum('b'), meta: sum('c') },
        }),
      ),
      feed(input) {
        const commit = decodeCommit(input, 'x.commit');
        // Related commits are passed over: no client has ever used them.
        const isRelated = (decode('(a{sv}aya(say)sstayay)', input) as Value[])[2] as Value[];
        if (isRelated.length === 0) assertCanonical(input, encodeCommit(commit));
      },
    },
    {
      name: 'filez-header',
      cost: 'memory',
      samples: [encodeFilezHeader(plain, 5), encodeFilezHeader(rich, 1e12), encodeFilezHeader(link, 0)],
      feed(input) {
        const { header, size, bodyOffset } = decodeFilezHeader(input, 'x.filez');
        assertCanonical(input.subarray(0, bodyOffset), encodeFilezHeader(header, size));
      },
    },
    {
      name: 'file-metadata',
      cost: 'memory',
      samples: [plain, rich].map((header) => encodeFileMetadata(header)),
      feed: (input) => assertCanonical(input, encodeFileMetadata(decodeFileMetadata(input, 'x.file'))),
    },
    {
      name: 'filez',
      cost: 'memory',
      samples: [filez],
      feed: (input) => void verifyFilez(filezChecksum, input),
    },
    {
      name: 'commitmeta',
      cost: 'memory',
      samples: [encode('a{sv}', []), encode('a{sv}', signatures)],
      feed: (input) => assertCanonical(input, encode('a{sv}', decode('a{sv}', input))),
    },
    {
      name: 'summary',
      cost: 'memory',
      samples: [
        encodeSummary({ refs: new Map(), metadata: [] }),
        encodeSummary({
          refs: new Map([
            ['app/stable', { commit: sum('1'), size: 200, timestamp: 1_700_000_000, version: '2.0' }],
            ['main', { commit: sum('2'), size: 300, timestamp: null }],
          ]),
          metadata: [
            ['ostree.summary.mode', { type: 's', value: 'archive-z2' }],
            ['ostree.summary.collection-id', { type: 's', value: 'org.example.Os' }],
            ['ostree.summary.collection-map', { type: 'a{sa(s(taya{sv}))}', value: [] }],
            ['ostree.static-deltas', { type: 'a{sv}', value: [] }],
          ],
        }),
      ],
      feed: (input) => void decodeSummary(input),
    },
    {
      name: 'sizes',
      cost: 'memory',
      samples: [
        [],
        [
          { checksum: sum('1'), type: 'file' as const, archived: 100, unpacked: 300 },
          { checksum: sum('2'), type: 'dirtree' as const, archived: 1e9, unpacked: 1e9 },
        ],
      ].map((sizes) => encode('aay', encodeSizes(sizes).value)),
      feed(input) {
        const sizes = decodeSizes(decode('aay', input));
        const sorted = (list: typeof sizes) => list.map((one) => JSON.stringify(one)).sort();
        assertStable(sorted(sizes), sorted(decodeSizes(encodeSizes(sizes).value)));
      },
    },
    {
      name: 'keyfile',
      cost: 'memory',
      samples: [Buffer.from(config), Buffer.from('')],
      feed(input) {
        const parsed = parseKeyFile(input.toString('utf8'), 'config');
        assertStable(parsed, parseKeyFile(formatKeyFile(parsed), 'config'));
      },
    },
  ];
}
