import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import {
  addSignatures,
  compose,
  type Repo,
  readCommit,
  readRef,
  resolveRev,
  type Transaction,
  type TransactionStats,
  type Tree,
  type Variant,
  withTransaction,
  writeCommit,
  writeFolder,
  writeTar,
} from '@treeline/ostree';
import { type Parsed, UsageError } from '../options.ts';
import { signersOf, signingOptions } from '../signing-options.ts';
import { commitOf, integer, keyValue, openNamedRepo, type RepoVerb, say } from '../verb.ts';

export const commit: RepoVerb = {
  usage: '[PATH]',
  options: {
    parent: { type: 'string', argument: 'REV', help: 'Parent commit checksum, or "none"' },
    subject: { type: 'string', short: 's', argument: 'SUBJECT', help: 'One line subject' },
    body: { type: 'string', short: 'm', argument: 'BODY', help: 'Full description' },
    'body-file': { type: 'string', short: 'F', argument: 'PATH', help: 'Commit message from FILE path' },
    branch: { type: 'string', short: 'b', argument: 'BRANCH', help: 'Branch' },
    orphan: { type: 'boolean', help: 'Create a commit without writing a ref' },
    'no-bindings': { type: 'boolean', help: 'Do not write any ref bindings' },
    'bind-ref': {
      type: 'string',
      multiple: true,
      argument: 'BRANCH',
      help: 'Add a ref to ref binding commit metadata',
    },
    tree: {
      type: 'string',
      multiple: true,
      argument: 'dir=PATH or tar=TARFILE or ref=COMMIT',
      help: 'Overlay the given argument as a tree',
    },
    'add-metadata-string': {
      type: 'string',
      multiple: true,
      argument: 'KEY=VALUE',
      help: 'Add a key/value pair to metadata',
    },
    'add-detached-metadata-string': {
      type: 'string',
      multiple: true,
      argument: 'KEY=VALUE',
      help: 'Add a key/value pair to detached metadata',
    },
    'owner-uid': { type: 'string', argument: 'UID', help: 'Set file ownership user id' },
    'owner-gid': { type: 'string', argument: 'GID', help: 'Set file ownership group id' },
    'canonical-permissions': { type: 'boolean', help: 'Canonicalize permissions' },
    'no-xattrs': { type: 'boolean', help: 'Do not import extended attributes' },
    'skip-if-unchanged': { type: 'boolean', help: 'If the contents are unchanged from previous commit, do nothing' },
    'table-output': { type: 'boolean', help: 'Output more information in a KEY: VALUE format' },
    'tar-autocreate-parents': {
      type: 'boolean',
      help: 'When loading tar archives, automatically create parent directories',
    },
    timestamp: {
      type: 'string',
      argument: 'TIMESTAMP',
      help: 'Override the timestamp of the commit (@SECONDS or ISO 8601)',
    },
    fsync: { type: 'string', argument: 'POLICY', help: 'Specify how to invoke fsync()' },
    'link-checkout-speedup': {
      type: 'boolean',
      help: 'Optimize for commits of trees composed of hardlinks into the repository',
    },
    ...signingOptions,
  },
  async run(parsed, signal) {
    const branch = parsed.text('branch');
    if (branch === undefined && !parsed.flag('orphan'))
      throw new UsageError('A branch must be specified or use --orphan');
    const opened = await openNamedRepo(parsed);
    const fsync = parsed.text('fsync');
    const repo: Repo = fsync === 'false' || fsync === '0' ? { ...opened, fsync: false } : opened;
    const parent = await parentOf(repo, parsed, branch);
    const signers = await signersOf(parsed);
    const result = await withTransaction(
      repo,
      async (tx) => {
        const tree = await treeOf(tx, parsed);
        if (parent && parsed.flag('skip-if-unchanged')) {
          const { contents, meta } = (await readCommit(repo, parent)).tree;
          if (contents === tree.contents && meta === tree.meta) return { commit: parent, stats: tx.stats };
        }
        const made = await writeCommit(tx, {
          tree,
          parent,
          ...(await message(parsed)),
          metadata: metadata(parsed, branch),
        });
        const detached = parsed
          .list('add-detached-metadata-string')
          .map((pair) => stringPair(pair, '--add-detached-metadata-string'));
        const signed = await addSignatures(await readFile(tx.locate('commit', made)!), detached, signers, { signal });
        if (signed.length > 0) tx.writeDetachedMetadata(made, signed);
        if (branch !== undefined && !parsed.flag('orphan')) tx.setRef(branch, made);
        return { commit: made, stats: tx.stats };
      },
      { signal },
    );
    if (parsed.flag('table-output')) printTable(result.commit, result.stats);
    else say(result.commit);
  },
};

async function parentOf(repo: Repo, parsed: Parsed, branch: string | undefined): Promise<string | null> {
  const named = parsed.text('parent');
  if (named === 'none') return null;
  if (named !== undefined) return resolveRev(repo, named);
  return branch === undefined || parsed.flag('orphan') ? null : readRef(repo, branch);
}

async function treeOf(tx: Transaction, parsed: Parsed): Promise<Tree> {
  const uid = integer(parsed.text('owner-uid'), 'owner-uid');
  const gid = integer(parsed.text('owner-gid'), 'owner-gid');
  // ostree sets one without the other, too; then the other is the file's own.
  if ((uid === undefined) !== (gid === undefined)) throw new UsageError('Give both --owner-uid and --owner-gid');
  const options = {
    ...(uid === undefined || gid === undefined ? {} : { owner: { uid, gid } }),
    ...(parsed.flag('canonical-permissions') ? { canonicalPermissions: true } : {}),
    ...(parsed.flag('no-xattrs') ? { xattrs: false } : {}),
  };
  const named = parsed.list('tree');
  const sources = named.length > 0 ? named : [`dir=${parsed.positionals[0] ?? '.'}`];
  const trees: Tree[] = [];
  for (const source of sources) {
    const [kind, name] = keyValue(source, '--tree');
    if (kind === 'dir') trees.push(await writeFolder(tx, name, options));
    else if (kind === 'tar') {
      const stream = name === '-' ? process.stdin : createReadStream(name);
      const createParents = parsed.flag('tar-autocreate-parents');
      trees.push(await writeTar(tx, stream, { ...options, createParents }));
    } else if (kind === 'ref') {
      // ostree reads and hashes every file of the ref again to do this; a compose takes trees as they are.
      if ('owner' in options || 'canonicalPermissions' in options) {
        throw new UsageError('Owners and permissions can be changed for dir= and tar=, not for --tree=ref=');
      }
      trees.push((await readCommit(tx.repo, await commitOf(tx.repo, name))).tree);
    } else throw new UsageError(`Invalid tree type specification '${kind}'`);
  }
  return trees.length === 1
    ? trees[0]!
    : compose(
        tx,
        trees.map((tree) => ({ tree })),
      );
}

async function message(parsed: Parsed): Promise<{ subject: string; body: string; timestamp?: number }> {
  const file = parsed.text('body-file');
  const body = file === undefined ? (parsed.text('body') ?? '') : await readFile(file, 'utf8');
  const when = parsed.text('timestamp');
  const base = { subject: parsed.text('subject') ?? '', body };
  if (when === undefined) return base;
  const seconds = when.startsWith('@') ? Number(when.slice(1)) : Math.floor(Date.parse(when) / 1000);
  if (!Number.isSafeInteger(seconds) || when === '@') throw new UsageError(`Could not parse '${when}'`);
  return { ...base, timestamp: seconds };
}

function metadata(parsed: Parsed, branch: string | undefined): [string, Variant][] {
  const pairs = parsed.list('add-metadata-string').map((pair) => stringPair(pair, '--add-metadata-string'));
  if (parsed.flag('no-bindings')) return pairs;
  const bound = [...parsed.list('bind-ref'), ...(branch === undefined || parsed.flag('orphan') ? [] : [branch])].sort();
  return [...pairs, ['ostree.ref-binding', { type: 'as', value: bound }]];
}

function stringPair(pair: string, option: string): [string, Variant] {
  const [key, value] = keyValue(pair, option);
  return [key, { type: 's', value }];
}

function printTable(checksum: string, stats: TransactionStats): void {
  say(`Commit: ${checksum}`);
  say(`Metadata Total: ${stats.metadataTotal}`);
  say(`Metadata Written: ${stats.metadataWritten}`);
  say(`Content Total: ${stats.contentTotal}`);
  say(`Content Written: ${stats.contentWritten}`);
  say(`Content Cache Hits: ${stats.contentKnown}`);
  say(`Content Bytes Written: ${stats.contentBytesWritten}`);
}
