import { hash } from 'node:crypto';
import { type Commit, metadataValue } from '@treeline/ostree/formats/commit.ts';
import type { Checksum } from '@treeline/ostree/formats/object-name.ts';
import { byteswap } from '@treeline/ostree/gvariant/byteswap.ts';
import { decode } from '@treeline/ostree/gvariant/decode.ts';
import { printValue } from '@treeline/ostree/gvariant/print.ts';
import { readCommit, readMetadata } from '@treeline/ostree/repo/objects.ts';
import type { Repo } from '@treeline/ostree/repo/repo.ts';

/** How much of an object is shown as it is stored. */
export type RawForm = 'swapped' | 'unswapped';

type MetadataType = 'commit' | 'dirtree' | 'dirmeta';

/** Metadata, parent, related commits, subject, body, time, tree and attributes of its root. */
export const COMMIT_FORMAT = '(a{sv}aya(say)sstayay)';

const FORMATS: Record<MetadataType, string> = {
  commit: COMMIT_FORMAT,
  dirtree: '(a(say)a(sayay))',
  dirmeta: '(uuua(ayay))',
};

/** A metadata object as `ostree show` and `ostree log` print it. */
export async function formatObject(
  repo: Repo,
  type: MetadataType,
  checksum: Checksum,
  raw: RawForm | null,
): Promise<string> {
  const lines = [`${type} ${checksum}`];
  if (raw) {
    const value = decode(FORMATS[type], await readMetadata(repo, type, checksum), { object: `${checksum}.${type}` });
    lines.push(printValue(FORMATS[type], raw === 'swapped' ? byteswap(FORMATS[type], value) : value));
  }
  if (type === 'commit' && raw !== 'swapped') lines.push(...commitLines(await readCommit(repo, checksum)));
  return `${lines.join('\n')}\n`;
}

function commitLines(commit: Commit): string[] {
  const { contents, meta } = commit.tree;
  const version = metadataValue(commit.metadata, 'version');
  return [
    ...(commit.parent ? [`Parent:  ${commit.parent}`] : []),
    `ContentChecksum:  ${hash('sha256', Buffer.from(contents + meta, 'hex'))}`,
    `Date:  ${formatTime(commit.timestamp)}`,
    ...(version?.type === 's' ? [`Version: ${version.value as string}`] : []),
    ...(commit.subject ? ['', ...indent(commit.subject)] : ['(no subject)']),
    ...(commit.body ? ['', ...indent(commit.body)] : []),
    '',
  ];
}

function indent(text: string): string[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line) => `    ${line}`);
}

/** The last second of the year 9999, beyond which there is no such form. */
const LAST_SECOND = 253402300799;

/** `2026-11-23 02:58:38 +0000`. */
function formatTime(seconds: number): string {
  if (seconds > LAST_SECOND) return `Invalid timestamp: ${seconds}`;
  return new Date(seconds * 1000).toISOString().replace('T', ' ').replace(/\..*/, ' +0000');
}
