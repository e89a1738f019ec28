import { OstreeError, writeConfig } from '@treeline/ostree';
import { UsageError } from '../options.ts';
import { openNamedRepo, type RepoVerb, required, say } from '../verb.ts';

export const config: RepoVerb = {
  usage: '(get|set|unset) SECTION.KEY [VALUE]',
  options: { group: { type: 'string', argument: 'GROUP', help: 'Group name followed by key (and value)' } },
  async run(parsed) {
    const operation = required(parsed, 0, 'OPERATION must be specified');
    const repo = await openNamedRepo(parsed);
    const named = parsed.text('group');
    const [section, key] = named
      ? [named, required(parsed, 1, 'KEY must be specified')]
      : split(required(parsed, 1, 'KEY must be specified'));
    const group = repo.config.get(section);
    if (operation === 'get') {
      const value = group?.get(key);
      if (value === undefined) {
        const what = group
          ? `Key file does not have key “${key}” in group “${section}”`
          : `Key file does not have group “${section}”`;
        throw new OstreeError('not-found', what);
      }
      say(value);
      return;
    }
    if (operation === 'set') {
      const value = required(parsed, 2, 'VALUE must be specified');
      if (group) group.set(key, value);
      else repo.config.set(section, new Map([[key, value]]));
    } else if (operation === 'unset') group?.delete(key);
    else throw new UsageError(`Unknown operation ${operation}`);
    await writeConfig(repo, repo.config);
  },
};

function split(name: string): [string, string] {
  const dot = name.lastIndexOf('.');
  if (dot < 1) throw new UsageError('Key must be of the form "sectionname.keyname"');
  return [name.slice(0, dot), name.slice(dot + 1)];
}
