import { OstreeError, writeConfig } from '@treeline/ostree';
import { UsageError } from '../options.ts';
import { keyValue, openNamedRepo, type RepoVerb, required, say } from '../verb.ts';

export const remote: RepoVerb = {
  usage: '(add|delete|list|show-url) [NAME] [URL] [BRANCH…]',
  options: {
    set: { type: 'string', multiple: true, argument: 'KEY=VALUE', help: 'Set config option KEY=VALUE for remote' },
    'no-gpg-verify': { type: 'boolean', help: 'Disable GPG verification' },
    'no-sign-verify': { type: 'boolean', help: 'Disable signature verification' },
    'if-not-exists': { type: 'boolean', help: 'Do nothing if the provided remote exists' },
    'if-exists': { type: 'boolean', help: 'Do nothing if the provided remote does not exist' },
    force: { type: 'boolean', help: 'Replace the provided remote if it exists' },
    'show-urls': { type: 'boolean', short: 'u', help: 'Show remote URLs in list' },
    'custom-backend': { type: 'string', argument: 'NAME', help: 'This remote content is not fetched by libostree' },
  },
  async run(parsed) {
    const operation = required(parsed, 0, 'No "remote" subcommand specified');
    const repo = await openNamedRepo(parsed);
    const groups = repo.config;
    const names = [...groups.keys()].map((group) => /^remote "(.+)"$/.exec(group)?.[1]).filter((n) => n !== undefined);
    if (operation === 'list') {
      const width = Math.max(0, ...names.map((name) => name.length));
      for (const name of names.sort()) {
        const url = groups.get(`remote "${name}"`)!.get('url') ?? '';
        say(parsed.flag('show-urls') ? `${name.padEnd(width)}  ${url}` : name);
      }
      return;
    }
    const name = required(parsed, 1, 'NAME must be specified');
    if (!/^[\w.-]+$/.test(name)) throw new UsageError(`Invalid remote name ${name}`);
    const group = `remote "${name}"`;
    const existing = groups.get(group);
    if (operation === 'show-url') {
      if (!existing) throw new OstreeError('not-found', `Remote "${name}" not found`);
      say(existing.get('url') ?? '');
    } else if (operation === 'delete') {
      if (!existing && parsed.flag('if-exists')) return;
      if (!existing) throw new OstreeError('not-found', `Remote "${name}" not found`);
      groups.delete(group);
      await writeConfig(repo, groups);
    } else if (operation === 'add') {
      const url = required(parsed, 2, 'NAME and URL must be specified');
      if (existing && parsed.flag('if-not-exists')) return;
      if (existing && !parsed.flag('force'))
        throw new OstreeError('exists', `Remote configuration for "${name}" already exists: (in config)`);
      const keys = new Map([['url', url]]);
      const branches = parsed.positionals.slice(3);
      if (branches.length > 0) keys.set('branches', branches.map((branch) => `${branch};`).join(''));
      for (const setting of parsed.list('set')) keys.set(...keyValue(setting, '--set'));
      if (parsed.flag('no-gpg-verify')) keys.set('gpg-verify', 'false');
      if (parsed.flag('no-sign-verify')) keys.set('sign-verify', 'false');
      groups.set(group, keys);
      await writeConfig(repo, groups);
    } else throw new UsageError(`Unknown "remote" subcommand "${operation}"`);
  },
};
