import { createWriteStream, lstatSync } from 'node:fs';
import { diffPaths, type PathChange } from '@treeline/ostree/diff/compare.ts';
import type { Change, Node } from '@treeline/ostree/diff/diff.ts';
import { downloadSize } from '@treeline/ostree/diff/download.ts';
import type { DiffSide, RepoSide } from '@treeline/ostree/diff/side.ts';
import { OstreeError } from '@treeline/ostree/errors.ts';
import { readCommit } from '@treeline/ostree/repo/objects.ts';
import { resolveRev } from '@treeline/ostree/repo/refs.ts';
import type { Repo } from '@treeline/ostree/repo/repo.ts';
import type { Parsed } from '../options.ts';
import { formatSize } from '../size-text.ts';
import { commitOf, integer, openNamedRepo, type RepoVerb, required, say } from '../verb.ts';

export const diff: RepoVerb = {
  usage: 'REV_OR_DIR REV_OR_DIR',
  options: {
    stats: { type: 'boolean', help: 'Print various statistics' },
    'fs-diff': { type: 'boolean', help: 'Print filesystem diff' },
    'no-xattrs': { type: 'boolean', help: 'Skip output of extended attributes' },
    'owner-uid': { type: 'string', argument: 'UID', help: 'Use file ownership user id for local files' },
    'owner-gid': { type: 'string', argument: 'GID', help: 'Use file ownership group id for local files' },
    patch: { type: 'boolean', help: 'Print a patch of text files, in the form of git diff' },
    sizes: { type: 'boolean', help: 'Print what differs of each path, sizes, and bytes that a pull fetches' },
    export: {
      type: 'string',
      argument: 'FILE',
      help: 'Write an overlay.tar of what was added and changed; removals as .wh.NAME (commit --tree=overlay=FILE)',
    },
  },
  async run(parsed, signal) {
    const first = required(parsed, 0, 'REV must be specified');
    const repo = await openNamedRepo(parsed);
    const [from, to] = parsed.positionals[1] === undefined ? [`${first}^`, first] : [first, parsed.positionals[1]];
    const ours = parsed.flag('patch') || parsed.flag('sizes') || parsed.text('export') !== undefined;
    if (parsed.flag('fs-diff') || !(ours || parsed.flag('stats'))) {
      const [before, after] = [await sideOf(repo, from, parsed, false), await sideOf(repo, to, parsed, true)];
      printPaths(await diffPaths(before, after, { signal }), before, after);
    }
    if (ours) await tellMore(repo, from, to, parsed, signal);
    if (parsed.flag('stats')) await printStats(repo, from, to);
  },
};

/** A revision, or a folder, which is named with a slash first, as ostree wants it. */
async function sideOf(repo: Repo, name: string, parsed: Parsed, isTarget: boolean): Promise<DiffSide> {
  if (!name.startsWith('/') && !name.startsWith('./')) return await revision(repo, name);
  if (!lstatSync(name, { throwIfNoEntry: false })) {
    throw new OstreeError('not-found', `Error when getting information for file “${name}”: No such file or directory`);
  }
  const [uid, gid] = [integer(parsed.text('owner-uid'), 'owner-uid'), integer(parsed.text('owner-gid'), 'owner-gid')];
  return {
    folder: name,
    ...(parsed.flag('no-xattrs') ? { xattrs: false } : {}),
    // Of two folders, ostree takes the second for somebody else's only.
    ...(isTarget ? { owner: { ...positive('uid', uid), ...positive('gid', gid) } } : {}),
  };
}

function positive(key: 'uid' | 'gid', value: number | undefined): { uid?: number; gid?: number } {
  return value !== undefined && value >= 0 ? { [key]: value } : {};
}

async function revision(repo: Repo, name: string): Promise<RepoSide> {
  // What does not exist is named without the ^ that asks for its parent.
  const youngest = await commitOf(repo, name.replace(/\^+$/, ''));
  const commit = name.endsWith('^') ? await resolveRev(repo, name) : youngest;
  return { repo, tree: (await readCommit(repo, commit)).tree };
}

/** M, D, A in this order, as ostree has it: of a removed folder nothing that was in it, and nothing about the root. */
function printPaths(changes: PathChange[], before: DiffSide, after: DiffSide): void {
  const name = (side: DiffSide, path: string) => ('folder' in side ? path.slice(1) : path);
  const lines: string[] = [];
  for (const [kind, letter, side] of [
    ['modified', 'M', before],
    ['removed', 'D', before],
    ['added', 'A', after],
  ] as const) {
    for (const { kind: actual, path, below } of changes) {
      if (actual !== kind || path === '/' || below === 'removed' || below === 'replaced') continue;
      lines.push(`${letter}    ${name(side, path)}\n`);
    }
  }
  process.stdout.write(lines.join(''));
}

async function printStats(repo: Repo, from: string, to: string): Promise<void> {
  const [before, after] = [await revision(repo, from), await revision(repo, to)];
  // One more for the commit on each side, as ostree counts.
  const a = downloadSize(repo, null, before.tree);
  const b = downloadSize(repo, before.tree, after.tree);
  say(`[A] Object Count: ${a.totalObjects + 1}`);
  say(`[B] Object Count: ${b.totalObjects + 1}`);
  say(`Common Object Count: ${b.totalObjects - b.objects}`);
  say(`Common Object Size: ${formatSize(b.totalBytes - b.bytes)}`);
}

async function tellMore(repo: Repo, from: string, to: string, parsed: Parsed, signal: AbortSignal): Promise<void> {
  const [before, after] = [await sideOf(repo, from, parsed, false), await sideOf(repo, to, parsed, true)];
  const trees = 'repo' in before && 'repo' in after ? { before: before.tree, after: after.tree } : null;
  // What ostree's own output does without is loaded only here.
  const { diffSides, diffTrees } = await import('@treeline/ostree/diff/diff.ts');
  const changes = trees
    ? await diffTrees(repo, trees.before, trees.after, { download: parsed.flag('sizes'), signal })
    : await diffSides(before, after, { signal });
  if (parsed.flag('sizes')) {
    process.stdout.write(changes.map((change) => `${describe(change)}\n`).join(''));
    if (trees) {
      const { objects, bytes, totalObjects, totalBytes } = downloadSize(repo, trees.before, trees.after);
      say(`Fetch: ${objects} of ${totalObjects} objects, ${bytes} of ${totalBytes} bytes`);
    }
  }
  if (parsed.flag('patch')) {
    const { patchText } = await import('@treeline/ostree/diff/patch.ts');
    for await (const text of patchText(changes, { signal })) process.stdout.write(text);
  }
  const file = parsed.text('export');
  if (file !== undefined) {
    const { exportOverlay } = await import('@treeline/ostree/diff/overlay.ts');
    await exportOverlay(after, changes, file === '-' ? process.stdout : createWriteStream(file), { signal });
  }
}

/** One line: `M    /etc/conf (content, mode 0644 -> 0600; 14 -> 12 bytes; fetch 94)`. */
function describe(change: Change): string {
  const { kind, path, before, after, download } = change;
  const letter = kind === 'modified' ? 'M' : kind === 'added' ? 'A' : 'D';
  const parts = [
    differences(change),
    [before, after].every((node) => node?.type !== 'file') ? '' : `${sizes(before, after)} bytes`,
    download ? `fetch ${download}` : '',
  ].filter((part) => part !== '');
  return `${letter}    ${path}${parts.length > 0 ? ` (${parts.join('; ')})` : ''}`;
}

function differences({ differs, before, after }: Change): string {
  if (!before || !after) return '';
  const [a, b] = [before, after].map((node) => (node.type === 'dir' ? node.meta : node.header));
  return differs
    .map((what) => {
      if (what === 'mode') return `mode ${octal(a!.mode)} -> ${octal(b!.mode)}`;
      if (what === 'owner') return `owner ${a!.uid}:${a!.gid} -> ${b!.uid}:${b!.gid}`;
      if (what === 'type') return `${before.type} -> ${after.type}`;
      if (what === 'target') return `target ${targetOf(before)} -> ${targetOf(after)}`;
      return what;
    })
    .join(', ');
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

function targetOf(node: Node): string {
  return node.type === 'dir' ? '' : node.header.symlinkTarget;
}

function sizes(before: Node | undefined, after: Node | undefined): string {
  const known = [before, after].flatMap((node) => (node?.type === 'file' ? [node.size] : []));
  return [...new Set(known)].join(' -> ');
}
