import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { OstreeError } from '@treeline/ostree/errors.ts';
import { listCollectionRefs, setCollectionRef } from '@treeline/ostree/repo/collection-refs.ts';
import {
  isRefName,
  listAliases,
  listRefs,
  parseRefspec,
  readRef,
  setAlias,
  setRef,
} from '@treeline/ostree/repo/refs.ts';
import type { Repo } from '@treeline/ostree/repo/repo.ts';
import { type Parsed, UsageError } from '../options.ts';
import { commitOf, openNamedRepo, type RepoVerb, say } from '../verb.ts';

export const refs: RepoVerb = {
  usage: '[PREFIX]',
  options: {
    delete: { type: 'boolean', help: 'Delete refs which match PREFIX, rather than listing them' },
    list: { type: 'boolean', help: 'Do not remove the prefix from the refs' },
    revision: { type: 'boolean', short: 'r', help: 'Show revisions in listing' },
    alias: {
      type: 'boolean',
      short: 'A',
      help: 'If used with --create, create an alias, otherwise just list aliases',
    },
    create: { type: 'string', argument: 'NEWREF', help: 'Create a new ref for an existing commit' },
    collections: { type: 'boolean', short: 'c', help: 'Enable listing collection IDs for refs' },
    force: { type: 'boolean', help: 'Overwrite existing refs when creating' },
  },
  async run(parsed) {
    const repo = await openNamedRepo(parsed);
    const create = parsed.text('create');
    const prefixes = parsed.positionals;
    if (create !== undefined) {
      if (prefixes.length > 1) {
        throw new UsageError('You must specify only 1 existing ref when creating a new ref');
      }
      if (prefixes.length === 0) throw new UsageError('You must specify a revision when creating a new ref');
      await createRef(repo, create, prefixes[0]!, parsed);
      return 0;
    }
    if (parsed.flag('delete') && prefixes.length === 0) {
      throw new UsageError('At least one PREFIX is required when deleting refs');
    }
    for (const prefix of prefixes.length > 0 ? prefixes : [undefined]) {
      if (parsed.flag('collections')) await collections(repo, prefix, parsed);
      else if (parsed.flag('delete')) await deleteRefs(repo, prefix!);
      else await list(repo, prefix, parsed);
    }
    return 0;
  },
};

async function createRef(repo: Repo, name: string, rev: string, parsed: Parsed): Promise<void> {
  const alias = parsed.flag('alias');
  const { remote, ref } = parsed.flag('collections') ? splitCollection(name) : parseRefspec(name);
  if (!parsed.flag('force') && (await readRef(repo, name)) && !(alias && (await listAliases(repo)).has(name))) {
    throw new OstreeError('exists', `--create specified but ref ${name} already exists`);
  }
  if (alias) await setAlias(repo, name, rev);
  else {
    const commit = await commitOf(repo, rev);
    if (parsed.flag('collections')) await setCollectionRef(repo, { collection: remote!, ref }, commit);
    else await setRef(repo, name, commit);
  }
  await refresh(repo);
}

/** `--collections --create=ID:REF` borrows the form of REMOTE:REF. */
function splitCollection(name: string): { remote: string; ref: string } {
  const colon = name.indexOf(':');
  const [remote, ref] = colon < 0 ? [name, ''] : [name.slice(0, colon), name.slice(colon + 1)];
  if (!isRefName(ref)) throw new OstreeError('invalid', `Invalid ref name ${ref}`);
  return { remote, ref };
}

async function collections(repo: Repo, collection: string | undefined, parsed: Parsed): Promise<void> {
  const found = await listCollectionRefs(repo, collection === undefined ? {} : { collection });
  if (parsed.flag('delete')) {
    for (const ref of found) await setCollectionRef(repo, ref, null);
    await refresh(repo);
    return;
  }
  for (const { collection: id, ref, commit } of found) {
    say(parsed.flag('revision') ? `(${id}, ${ref})\t${commit}` : `(${id}, ${ref})`);
  }
}

async function deleteRefs(repo: Repo, prefix: string): Promise<void> {
  const broken: string[] = [];
  const found = await matching(repo, prefix, (name) => broken.push(name));
  const aliases = await listAliases(repo);
  for (const name of [...found.keys(), ...broken]) {
    const alias = [...aliases].find(([, target]) => target === name)?.[0];
    if (alias) throw new OstreeError('exists', `Ref '${name}' has an active alias: '${alias}'`);
    await setRef(repo, name, null);
  }
  if (found.size + broken.length > 0) await refresh(repo);
}

async function list(repo: Repo, prefix: string | undefined, parsed: Parsed): Promise<void> {
  const broken: string[] = [];
  if (parsed.flag('alias')) {
    for (const [name, target] of await listAliases(repo)) {
      if (!prefix || name === prefix || name.startsWith(`${prefix}/`)) say(`${name} -> ${target}`);
    }
    return;
  }
  if (!existsSync(join(repo.path, 'refs/remotes'))) {
    // Refs that are lost must not look like refs that never were.
    throw new OstreeError('not-found', 'Listing refs: opendir(refs/remotes): No such file or directory');
  }
  for (const [name, commit] of await matching(repo, prefix, (one) => broken.push(one))) {
    const shown = prefix && !parsed.flag('list') ? withoutPrefix(name, prefix) : name;
    say(parsed.flag('revision') ? `${shown}\t${commit}` : shown);
  }
  for (const name of broken) {
    process.stderr.write(`warning: ref ${name} is broken; treeline repo refs --delete ${name}\n`);
  }
}

/** The refs below a prefix; `REMOTE:` and `REMOTE:.` are all of a remote. */
async function matching(repo: Repo, prefix: string | undefined, onBroken: (name: string) => void) {
  const remote = prefix === undefined ? undefined : /^([^:/]+):\.?$/.exec(prefix)?.[1];
  if (remote === undefined) {
    if (prefix !== undefined) parseRefspec(prefix); // refuses what cannot be one
    return listRefs(repo, prefix, { onBroken });
  }
  const all = await listRefs(repo, undefined, { onBroken });
  return new Map([...all].filter(([name]) => name.startsWith(`${remote}:`)));
}

/** `REMOTE:PREFIX/rest` becomes `REMOTE:rest`. */
function withoutPrefix(name: string, prefix: string): string {
  if (name === prefix || /:\.?$/.test(prefix)) return name;
  const remote = /^[^:/]+:/.exec(prefix)?.[0] ?? '';
  return remote + name.slice(prefix.length + 1);
}

/** Where the summary is to follow the refs by itself. */
async function refresh(repo: Repo): Promise<void> {
  const { autoUpdateSummary } = await import('@treeline/ostree');
  await autoUpdateSummary(repo);
}
