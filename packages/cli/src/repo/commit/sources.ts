import { createReadStream, existsSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { ConsumedPaths } from '@treeline/ostree/commit/consumed.ts';
import { writeFolder } from '@treeline/ostree/commit/folder.ts';
import { type ModifierOptions, StatOverrides } from '@treeline/ostree/commit/modifier.ts';
import type { WriteTarOptions } from '@treeline/ostree/commit/tar.ts';
import { OstreeError } from '@treeline/ostree/errors.ts';
import type { Tree } from '@treeline/ostree/formats/object-name.ts';
import { isComplete } from '@treeline/ostree/pull/known-trees.ts';
import { readCommit } from '@treeline/ostree/repo/objects.ts';
import { readRef } from '@treeline/ostree/repo/refs.ts';
import type { Transaction } from '@treeline/ostree/repo/transaction.ts';
import { type Parsed, UsageError } from '../options.ts';
import { commitOf } from '../verb.ts';
import { pathnameFilter } from './pathname-filter.ts';

// What only some sources need is loaded with them: an unchanged folder is committed in the time that all of it takes.

/** What the options say about sources, apart from which they are. */
export interface SourceOptions {
  modifier: ModifierOptions;
  consumed: ConsumedPaths | undefined;
}

/** Checks the options that go together, and reads the files that some of them name. */
export async function sourceOptions(parsed: Parsed): Promise<SourceOptions> {
  const uid = ownerOf(parsed, 'owner-uid');
  const gid = ownerOf(parsed, 'owner-gid');
  const canonical = parsed.flag('canonical-permissions');
  for (const [name, id] of Object.entries({ 'owner-uid': uid, 'owner-gid': gid })) {
    if (canonical && id) throw new UsageError(`Cannot specify both --canonical-permissions and non-zero --${name}`);
  }
  refuseSelinux(parsed);
  const overrides = parsed.text('statoverride');
  const skip = parsed.text('skip-list');
  const modifier: ModifierOptions = {
    owner: { ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) },
    canonicalPermissions: canonical,
    readOnlyExecutables: parsed.flag('mode-ro-executables'),
    ...(parsed.flag('no-xattrs') ? { xattrs: false } : {}),
    ...(overrides === undefined ? {} : { statOverrides: StatOverrides.parse(await readFile(overrides, 'utf8')) }),
    ...(skip === undefined
      ? {}
      : { skip: new Set((await readFile(skip, 'utf8')).split('\n').filter((line) => line !== '')) }),
  };
  return { modifier, consumed: parsed.flag('consume') ? new ConsumedPaths() : undefined };
}

/** A negative one is as good as none, for ostree. */
function ownerOf(parsed: Parsed, name: string): number | undefined {
  const text = parsed.text(name);
  return text === undefined || Number(text) < 0 ? undefined : Number(text);
}

/** Labels are made by libselinux. Where there is no policy, ostree makes none either. */
function refuseSelinux(parsed: Parsed): void {
  const policy = parsed.text('selinux-policy');
  const fromBase = parsed.flag('selinux-policy-from-base');
  if (policy !== undefined && fromBase) {
    throw new UsageError('Cannot specify both --selinux-policy and --selinux-policy-from-base');
  }
  const epoch = Number(parsed.text('selinux-labeling-epoch') ?? 0);
  if (epoch !== 0 && epoch !== 1) throw new UsageError(`Unknown SELinux labeling epoch: ${epoch}`);
  const first = parsed.list('tree')[0] ?? `dir=${parsed.positionals[0] ?? '.'}`;
  if (fromBase && first.startsWith('tar=')) throw new UsageError('Cannot use --selinux-policy-from-base with tar');
  const root = policy ?? (fromBase && first.startsWith('dir=') ? first.slice(4) : undefined);
  if (root !== undefined && !statSync(root, { throwIfNoEntry: false })) {
    throw new OstreeError('not-found', `opendir(${root}): No such file or directory`);
  }
  const isEnabled =
    root === undefined
      ? fromBase
      : ['etc/selinux/config', 'usr/etc/selinux/config'].some((file) => existsSync(join(root, file)));
  if (isEnabled) {
    throw new OstreeError('unsupported', `SELinux labels cannot be made from a policy${root ? ` (${root})` : ''}`, {
      hint: 'Commit with stock ostree, or label the folder and let its security.selinux attributes be stored.',
    });
  }
}

/** Stores all that `--base`, `--tree` and the path name, each laid over those before. */
export async function treeOf(tx: Transaction, parsed: Parsed, options: SourceOptions): Promise<Tree> {
  const base = parsed.text('base');
  let tree = base === undefined ? null : (await readCommit(tx.repo, await commitOf(tx.repo, base))).tree;
  const named = parsed.list('tree');
  for (const source of named.length > 0 ? named : [`dir=${parsed.positionals[0] ?? '.'}`]) {
    const equals = source.indexOf('=');
    if (equals < 0) throw new UsageError(`Missing type in tree specification '${source}'`);
    tree = await laidOver(tx, tree, source.slice(0, equals), source.slice(equals + 1), { parsed, ...options });
  }
  assertMatched(options.modifier);
  return tree!;
}

async function laidOver(
  tx: Transaction,
  base: Tree | null,
  kind: string,
  name: string,
  { parsed, modifier, consumed }: SourceOptions & { parsed: Parsed },
): Promise<Tree> {
  const over = async (tree: Tree) => {
    if (!base) return tree;
    const { compose } = await import('@treeline/ostree/compose/compose.ts');
    return compose(tx, [{ tree: base }, { tree }], { conflicts: 'refuse' });
  };
  switch (kind) {
    case 'dir': {
      const linksAreFinal = parsed.flag('devino-canonical');
      const isLinked = linksAreFinal || parsed.flag('link-checkout-speedup');
      const links = isLinked
        ? (await import('@treeline/ostree/commit/hard-links.ts')).scanObjectLinks(tx.repo)
        : undefined;
      const statCache = !parsed.flag('no-stat-cache');
      const more = { linksAreFinal, statCache, ...(links ? { links } : {}), ...(consumed ? { consumed } : {}) };
      return over(await writeFolder(tx, name, { ...modifier, ...more, base: await wholeTree(tx, parsed) }));
    }
    case 'tar': {
      const { writeTar } = await import('@treeline/ostree/commit/tar.ts');
      return writeTar(tx, input(name), { ...tarOptions(parsed, modifier), ...(base ? { base } : {}) });
    }
    case 'overlay': {
      const { applyOverlay } = await import('@treeline/ostree/diff/overlay.ts');
      return applyOverlay(tx, base ?? tx.emptyTree(), input(name), {
        ...tarOptions(parsed, modifier),
        createParents: true,
      });
    }
    case 'oci': {
      const platform = parsed.text('platform');
      const { writeImage } = await import('@treeline/ostree/commit/image.ts');
      return over(await writeImage(tx, name, { ...modifier, ...(platform === undefined ? {} : { platform }) }));
    }
    case 'ref': {
      const { modifyTree } = await import('@treeline/ostree/commit/ref-tree.ts');
      return over(await modifyTree(tx, (await readCommit(tx.repo, await commitOf(tx.repo, name))).tree, modifier));
    }
    default:
      throw new UsageError(`Invalid tree type specification '${kind}'`);
  }
}

/** The tree that the branch is at: while its commit has a ref nobody prunes what is in it. */
async function wholeTree({ repo }: Transaction, parsed: Parsed): Promise<Tree | null> {
  const branch = parsed.text('branch');
  const commit = branch === undefined ? null : await readRef(repo, branch);
  return commit && isComplete(repo, commit) ? (await readCommit(repo, commit)).tree : null;
}

function tarOptions(parsed: Parsed, modifier: ModifierOptions): WriteTarOptions {
  const filter = parsed.text('tar-pathname-filter');
  const createParents = parsed.flag('tar-autocreate-parents') ? ('owned' as const) : false;
  return {
    ...modifier,
    createParents,
    allowEmpty: createParents !== false,
    ...(filter === undefined ? {} : { rename: pathnameFilter(filter) }),
  };
}

function input(name: string): Readable {
  return name === '-' ? process.stdin : createReadStream(name, { highWaterMark: 256 * 1024 });
}

/** A path that is mistyped must not go unnoticed. */
function assertMatched({ statOverrides, skip }: ModifierOptions): void {
  for (const [what, paths] of [
    ['statoverride', statOverrides?.unmatched() ?? []],
    ['skip-list', [...(skip ?? [])]],
  ] as const) {
    if (paths.length === 0) continue;
    for (const path of paths) process.stderr.write(`Unmatched ${what} path: ${path}\n`);
    throw new OstreeError('not-found', `Unmatched ${what} paths`);
  }
}
