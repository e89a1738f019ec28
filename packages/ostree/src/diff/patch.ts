import { structuredPatch } from 'diff';
import { readUpTo } from './content.ts';
import { attributes, type Change, type Node } from './diff.ts';

/** How changes of text are shown. */
export interface PatchOptions {
  /** Files with more bytes than this are not shown line by line. Default 1 MiB. */
  maxBytes?: number;
  /** Unchanged lines around each change. Default 3. */
  context?: number;
  signal?: AbortSignal;
}

/**
 * Changes as a patch in git's form, one text for each change: `git apply` and `patch -p1` understand it. Owners,
 * extended attributes and folders, which it cannot express, are said in lines starting with `# `, which both pass over.
 * Binary files (with a NUL, or not UTF-8), very long ones, and such as would take more than a second to compare are
 * only named.
 */
export async function* patchText(changes: Iterable<Change>, options: PatchOptions = {}): AsyncGenerator<string> {
  for (const change of changes) {
    options.signal?.throwIfAborted();
    const text = await patchOf(change, options);
    if (text !== '') yield text;
  }
}

async function patchOf(change: Change, options: PatchOptions): Promise<string> {
  const before = patchable(change.before);
  const after = patchable(change.after);
  // A path that became something else is removed and added; git does the same.
  const pairs: [Patchable | null, Patchable | null][] =
    before && after && before.type !== after.type
      ? [
          [before, null],
          [null, after],
        ]
      : [[before, after]];
  const lines = remarksOn(change);
  for (const [a, b] of pairs) if (a || b) lines.push(...(await section(change.path, a, b, options)));
  return lines.map((line) => `${line}\n`).join('');
}

type Patchable = Exclude<Node, { type: 'dir' }>;

function patchable(node: Node | undefined): Patchable | null {
  return node && node.type !== 'dir' ? node : null;
}

async function section(
  path: string,
  before: Patchable | null,
  after: Patchable | null,
  options: PatchOptions,
): Promise<string[]> {
  const [a, b] = [quote(`a${path}`), quote(`b${path}`)];
  const lines = [`diff --git ${a} ${b}`];
  const [oldMode, newMode] = [before && gitMode(before), after && gitMode(after)];
  if (!before) lines.push(`new file mode ${newMode}`);
  else if (!after) lines.push(`deleted file mode ${oldMode}`);
  else if (oldMode !== newMode) lines.push(`old mode ${oldMode}`, `new mode ${newMode}`);
  const hunks = await hunksOf(before, after, options);
  if (hunks === null)
    return [...lines, `Binary files ${before ? a : '/dev/null'} and ${after ? b : '/dev/null'} differ`];
  if (hunks.length > 0)
    lines.push(`--- ${before ? ended(a) : '/dev/null'}`, `+++ ${after ? ended(b) : '/dev/null'}`, ...hunks);
  else if (before && after && oldMode === newMode) return [];
  return lines;
}

/** Lines of hunks; none when the content is equal, null when it is not for people to read. */
async function hunksOf(
  before: Patchable | null,
  after: Patchable | null,
  { maxBytes = 1024 * 1024, context = 3 }: PatchOptions,
): Promise<string[] | null> {
  if (before && after && before.type === 'file' && before.size === after.size && before.checksum === after.checksum) {
    return [];
  }
  const [left, right] = [await textOf(before, maxBytes), await textOf(after, maxBytes)];
  if (left === null || right === null) return null;
  const patch = structuredPatch('', '', left, right, undefined, undefined, { context, timeout: 1000 });
  if (!patch) return null;
  return patch.hunks.flatMap(({ oldStart, oldLines, newStart, newLines, lines }) => [
    `@@ -${range(oldStart, oldLines)} +${range(newStart, newLines)} @@`,
    ...lines,
  ]);
}

function range(start: number, lines: number): string {
  // Of no lines, the line before them is named.
  if (lines === 0) return `${start - 1},0`;
  return lines === 1 ? `${start}` : `${start},${lines}`;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

async function textOf(node: Patchable | null, maxBytes: number): Promise<string | null> {
  if (!node) return '';
  if (node.type === 'symlink') return node.header.symlinkTarget;
  if (node.size > maxBytes) return null;
  const data = await readUpTo(await node.content(), maxBytes);
  if (!data || data.includes(0)) return null;
  try {
    return utf8.decode(data);
  } catch {
    return null;
  }
}

/** git knows two kinds of file: executable or not. */
function gitMode(node: Patchable): string {
  if (node.type === 'symlink') return '120000';
  return node.header.mode & 0o100 ? '100755' : '100644';
}

/** What a patch cannot say. */
function remarksOn({ path, kind, before, after, differs }: Change): string[] {
  const remarks: string[] = [];
  const name = quote(path);
  const folder = (before ?? after)?.type === 'dir' || after?.type === 'dir';
  if (folder && kind !== 'modified') remarks.push(`# ${kind} folder ${name}`);
  if (before && after) {
    const [a, b] = [attributes(before), attributes(after)];
    if (differs.includes('type')) remarks.push(`# ${name}: ${typeName(before)}, now ${typeName(after)}`);
    if (differs.includes('mode')) remarks.push(`# ${name}: mode ${octal(a.mode)}, now ${octal(b.mode)}`);
    if (differs.includes('owner')) remarks.push(`# ${name}: owner ${a.uid}:${a.gid}, now ${b.uid}:${b.gid}`);
    if (differs.includes('xattrs')) remarks.push(`# ${name}: other extended attributes`);
  }
  return remarks;
}

function typeName(node: Node): string {
  if (node.type !== 'file') return node.type === 'dir' ? 'folder' : 'symlink';
  return 'file';
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

/** patch takes what follows a name after white space for a time, unless a tab ends the name. */
function ended(name: string): string {
  return name.includes(' ') ? `${name}\t` : name;
}

/** Names with quotes, backslashes or control characters are quoted as git does; others are as they are. */
function quote(name: string): string {
  const special = /["\\\p{Cc}]/u;
  if (!special.test(name)) return name;
  const escaped = name.replace(/["\\\p{Cc}]/gu, (letter) => ESCAPES[letter] ?? octalBytes(letter));
  return `"${escaped}"`;
}

const ESCAPES: Record<string, string> = { '"': '\\"', '\\': '\\\\', '\n': '\\n', '\t': '\\t', '\r': '\\r' };

function octalBytes(letter: string): string {
  return [...Buffer.from(letter)].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
}
