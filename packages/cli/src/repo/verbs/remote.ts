import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { escapeKeyFileString, isKeyFileKey, unescapeKeyFileString } from '@treeline/ostree/formats/keyfile.ts';
import { remoteOptions } from '@treeline/ostree/pull/remote-config.ts';
import {
  addRemote,
  deleteRemote,
  type RemotesOptions,
  readRemote,
  readRemotes,
} from '@treeline/ostree/repo/remotes.ts';
import { openRepo, type Repo } from '@treeline/ostree/repo/repo.ts';
import { signatureType } from '@treeline/ostree/sign/signature-type.ts';
import { type OptionSpec, type Parsed, UsageError } from '../options.ts';
import { keyValue, openNamedRepo, type RepoVerb, say } from '../verb.ts';

const sysrootOption: Record<string, OptionSpec> = {
  sysroot: { type: 'string', argument: 'PATH', help: 'Use sysroot at PATH (overrides --repo)' },
};

export const remoteAdd: RepoVerb = {
  usage: 'NAME [metalink=|mirrorlist=]URL [BRANCH...]',
  options: {
    set: { type: 'string', multiple: true, argument: 'KEY=VALUE', help: 'Set config option KEY=VALUE for remote' },
    'no-gpg-verify': { type: 'boolean', help: 'Disable GPG verification' },
    'no-sign-verify': { type: 'boolean', help: 'Disable signature verification' },
    'sign-verify': {
      type: 'string',
      multiple: true,
      argument: 'KEYTYPE=[inline|file]:PUBKEY',
      help: 'Verify signatures using KEYTYPE=inline:PUBKEY or KEYTYPE=file:/path/to/key',
    },
    'if-not-exists': { type: 'boolean', help: 'Do nothing if the provided remote exists' },
    force: { type: 'boolean', help: 'Replace the provided remote if it exists' },
    'gpg-import': { type: 'string', argument: 'FILE', help: 'Import GPG key from FILE' },
    'custom-backend': { type: 'string', argument: 'NAME', help: 'This remote has content not fetched via libostree' },
    contenturl: { type: 'string', argument: 'URL', help: 'Use URL when fetching content' },
    'collection-id': {
      type: 'string',
      argument: 'COLLECTION-ID',
      help: 'Globally unique ID for this repository as an collection of refs for redistribution to other repositories',
    },
    ...sysrootOption,
  },
  async run(parsed) {
    const [name, url] = parsed.positionals;
    const custom = parsed.text('custom-backend') !== undefined;
    if (custom && name === undefined) throw new UsageError('NAME must be specified', { showHelp: true });
    if (!custom && url === undefined) throw new UsageError('NAME and URL must be specified', { showHelp: true });
    if (parsed.flag('if-not-exists') && parsed.flag('force')) {
      throw new UsageError('Can only specify one of --if-not-exists and --force', { showHelp: true });
    }
    const keys = remoteKeys(parsed);
    const { repo, options } = await openRepoOrSysroot(parsed);
    const existing = (await readRemotes(repo, options)).has(name!);
    if (!existing || !parsed.flag('if-not-exists')) {
      await addRemote(repo, name!, keys, { ...options, replace: parsed.flag('force') });
    }
    const file = parsed.text('gpg-import');
    // Imported even if the remote was there: its keys may be new.
    if (file !== undefined)
      await (await import('../remote-gpg.ts')).importGpgFile(await openRepo(repo.path), name!, file);
    return 0;
  },
};

/** The keys of a new remote, in the order in which ostree writes them. */
function remoteKeys(parsed: Parsed): Map<string, string> {
  const keys = new Map<string, string>();
  const set = (key: string, value: string | undefined) => {
    if (value !== undefined) keys.set(key, escapeKeyFileString(value));
  };
  const [, url, ...branches] = parsed.positionals;
  if (url?.startsWith('metalink=')) set('metalink', url.slice('metalink='.length));
  else set('url', url);
  if (branches.length > 0) set('branches', branches.map((branch) => `${branch};`).join(''));
  set('contenturl', parsed.text('contenturl'));
  set('custom-backend', parsed.text('custom-backend'));
  for (const pair of parsed.list('set')) {
    const [key, value] = keyValue(pair, '--set');
    if (!isKeyFileKey(key)) throw new UsageError(`Invalid key name: ${key}`);
    set(key, value);
  }
  const unsigned = parsed.flag('no-sign-verify');
  if (unsigned || parsed.flag('no-gpg-verify')) set('gpg-verify', 'false');
  const wanted = parsed.list('sign-verify').map((spec) => verification(spec, set));
  if (unsigned && wanted.length > 0) {
    throw new UsageError('Cannot specify both --sign-verify and --no-sign-verify');
  }
  if (unsigned) set('sign-verify', 'false');
  else if (wanted.length > 0) set('sign-verify', wanted.join(','));
  set('collection-id', parsed.text('collection-id'));
  return keys;
}

/** `ed25519=inline:KEY` or `ed25519=file:PATH`. Returns the kind of key. */
function verification(spec: string, set: (key: string, value: string) => void): string {
  const [kind, rest] = split(spec, '=');
  if (rest === undefined) throw new UsageError(`Failed to parse KEYTYPE=[inline|file]:DATA in ${spec}`);
  signatureType(kind); // there must be such a thing
  const [place, key] = split(rest, ':');
  if (place !== 'inline' && place !== 'file') {
    throw new UsageError(`Invalid key reference ${place}, expected inline|file`);
  }
  set(`verification-${kind}-${place === 'inline' ? 'key' : 'file'}`, key ?? '');
  return kind;
}

function split(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

export const remoteDelete: RepoVerb = {
  usage: 'NAME',
  options: {
    'if-exists': { type: 'boolean', help: 'Do nothing if the provided remote does not exist' },
    ...sysrootOption,
  },
  async run(parsed) {
    const name = nameOf(parsed);
    const { repo, options } = await openRepoOrSysroot(parsed);
    if (parsed.flag('if-exists') && !(await readRemotes(repo, options)).has(name)) return 0;
    await deleteRemote(repo, name, options);
    return 0;
  },
};

export const remoteShowUrl: RepoVerb = {
  usage: 'NAME',
  options: {},
  async run(parsed) {
    const name = nameOf(parsed);
    const repo = await openNamedRepo(parsed);
    const { keys } = await readRemote(repo, name);
    const url = keys.get('metalink') ?? keys.get('url');
    if (url !== undefined) say(unescapeKeyFileString(url));
    else await remoteOptions(repo, name); // says why it has none
    return 0;
  },
};

export const remoteList: RepoVerb = {
  usage: '',
  options: { 'show-urls': { type: 'boolean', short: 'u', help: 'Show remote URLs in list' } },
  async run(parsed) {
    const remotes = await readRemotes(await openNamedRepo(parsed));
    const names = [...remotes.keys()].sort();
    const width = Math.max(0, ...names.map((name) => name.length));
    for (const name of names) {
      const { keys } = remotes.get(name)!;
      const url = unescapeKeyFileString(keys.get('metalink') ?? keys.get('url') ?? '');
      say(parsed.flag('show-urls') ? `${name.padEnd(width)}  ${url}` : name);
    }
    return 0;
  },
};

function nameOf(parsed: Parsed): string {
  const name = parsed.positionals[0];
  if (name === undefined) throw new UsageError('NAME must be specified', { showHelp: true });
  return name;
}

/** `--sysroot=PATH` means the repository of a system, whose remotes are files in its `/etc`. */
async function openRepoOrSysroot(parsed: Parsed): Promise<{ repo: Repo; options: RemotesOptions }> {
  const sysroot = parsed.text('sysroot');
  if (sysroot === undefined) return { repo: await openNamedRepo(parsed), options: {} };
  const etc = join(sysroot, 'etc');
  const folder = existsSync(etc) ? join(etc, 'ostree/remotes.d') : undefined;
  return { repo: await openRepo(join(sysroot, 'ostree/repo')), options: { folder } };
}
