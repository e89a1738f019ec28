import { hash } from 'node:crypto';
import { type Checksum, type Commit, metadataValue } from '@treeline/ostree';

/** A commit as `ostree show` and `ostree log` print it. */
export function formatCommit(checksum: Checksum, commit: Commit): string {
  const { contents, meta } = commit.tree;
  const version = metadataValue(commit.metadata, 'version');
  return [
    `commit ${checksum}`,
    ...(commit.parent ? [`Parent:  ${commit.parent}`] : []),
    `ContentChecksum:  ${hash('sha256', Buffer.from(contents + meta, 'hex'))}`,
    `Date:  ${formatTime(commit.timestamp)}`,
    ...(version?.type === 's' ? [`Version: ${version.value as string}`] : []),
    ...(commit.subject ? ['', ...indent(commit.subject)] : ['(no subject)']),
    ...(commit.body ? ['', ...indent(commit.body)] : []),
    '',
    '',
  ].join('\n');
}

function indent(text: string): string[] {
  return text.split('\n').map((line) => `    ${line}`);
}

/** `2026-11-23 02:58:38 +0000`. */
function formatTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('T', ' ').replace(/\..*/, ' +0000');
}
