import { listRefs, OstreeError, readRef, setRef } from '@treeline/ostree';
import { UsageError } from '../options.ts';
import { commitOf, openNamedRepo, type RepoVerb, required, say } from '../verb.ts';

export const refs: RepoVerb = {
  usage: '[PREFIX]',
  options: {
    delete: { type: 'boolean', help: 'Delete refs which match PREFIX, rather than listing them' },
    list: { type: 'boolean', help: 'Do not remove the prefix from the refs' },
    revision: { type: 'boolean', short: 'r', help: 'Show revisions in listing' },
    create: { type: 'string', argument: 'NEWREF', help: 'Create a new ref for an existing commit' },
    force: { type: 'boolean', help: 'Overwrite existing refs when creating' },
  },
  async run(parsed) {
    const repo = await openNamedRepo(parsed);
    const prefix = parsed.positionals[0];
    const create = parsed.text('create');
    if (create !== undefined) {
      const rev = required(parsed, 0, 'You must specify only 1 existing ref when creating a new ref');
      if (!parsed.flag('force') && (await readRef(repo, create))) {
        throw new OstreeError('exists', `--create specified but ref ${create} already exists`);
      }
      await setRef(repo, create, await commitOf(repo, rev));
      return;
    }
    if (parsed.flag('delete') && prefix === undefined)
      throw new UsageError('At least one PREFIX is required when deleting refs');
    const broken: string[] = [];
    const found = await listRefs(repo, prefix, { onBroken: (name) => broken.push(name) });
    if (parsed.flag('delete')) {
      for (const name of [...found.keys(), ...broken]) await setRef(repo, name, null);
      return;
    }
    for (const [name, commit] of found) {
      const inner = prefix && !parsed.flag('list') && name !== prefix ? name.slice(prefix.length + 1) : name;
      say(parsed.flag('revision') ? `${inner}\t${commit}` : inner);
    }
    for (const name of broken)
      process.stderr.write(`warning: ref ${name} is broken; treeline repo refs --delete ${name}\n`);
  },
};
