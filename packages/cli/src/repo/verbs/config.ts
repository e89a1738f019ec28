import { OstreeError } from '@treeline/ostree/errors.ts';
import {
  escapeKeyFileString,
  isKeyFileGroup,
  isKeyFileKey,
  unescapeKeyFileString,
} from '@treeline/ostree/formats/keyfile.ts';
import { writeConfig } from '@treeline/ostree/repo/repo.ts';
import { type Parsed, UsageError } from '../options.ts';
import { openNamedRepo, type RepoVerb, say } from '../verb.ts';

export const config: RepoVerb = {
  usage: '(get KEY|set KEY VALUE|unset KEY)',
  options: { group: { type: 'string', argument: 'GROUP', help: 'Group name' } },
  async run(parsed) {
    const [operation, , value] = parsed.positionals;
    if (operation === undefined) throw new UsageError('OPERATION must be specified', { showHelp: true });
    if (parsed.positionals.length > (operation === 'set' ? 3 : 2)) {
      throw new UsageError('Too many arguments given', { showHelp: true });
    }
    const repo = await openNamedRepo(parsed);
    if (operation === 'get') {
      const [section, key] = keyOf(parsed, 'KEY');
      const group = repo.config.get(section);
      const found = group?.get(key);
      if (found === undefined) {
        const where = `group “${section}”`;
        const what = group ? `Key file does not have key “${key}” in ${where}` : `Key file does not have ${where}`;
        throw new OstreeError('not-found', what);
      }
      say(unescapeKeyFileString(found));
    } else if (operation === 'set') {
      if (value === undefined) throw new UsageError(missing(parsed, 'KEY and VALUE', 'KEY and VALUE'));
      const [section, key] = keyOf(parsed, 'KEY and VALUE');
      const group = repo.config.get(section) ?? new Map<string, string>();
      repo.config.set(section, group.set(key, escapeKeyFileString(value)));
      await writeConfig(repo, repo.config);
    } else if (operation === 'unset') {
      const [section, key] = keyOf(parsed, 'KEY');
      if (repo.config.get(section)?.delete(key)) await writeConfig(repo, repo.config);
    } else throw new UsageError(`Unknown operation ${operation}`);
    return 0;
  },
};

function missing(parsed: Parsed, what: string, grouped: string): string {
  if (parsed.text('group') === undefined) return `${what} must be specified`;
  return `${grouped === 'key' ? 'Group name and key' : `GROUP name, ${grouped}`} must be specified`;
}

/** SECTION.KEY, or KEY of the group that is named. */
function keyOf(parsed: Parsed, what: string): [section: string, key: string] {
  const name = parsed.positionals[1];
  if (name === undefined) throw new UsageError(missing(parsed, what, 'key'));
  const group = parsed.text('group');
  const dot = name.indexOf('.');
  if (group === undefined && dot < 0) throw new UsageError('Key must be of the form "sectionname.keyname"');
  const [section, key] = group === undefined ? [name.slice(0, dot), name.slice(dot + 1)] : [group, name];
  if (!isKeyFileGroup(section)) throw new UsageError(`Invalid group name: ${section}`);
  if (!isKeyFileKey(key)) throw new UsageError(`Invalid key name: ${key}`);
  return [section, key];
}
