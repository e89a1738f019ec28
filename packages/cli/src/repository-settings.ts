import type { RepositoryPatch, SigningKey } from '@treeline/server';
import { CliError } from './errors.ts';

/** A setting as it is written on the command line: how it is read and shown. */
type Setting = {
  name: string;
  /** What can be written, for `--help`. */
  form: string;
  what: string;
  read(text: string): RepositoryPatch;
  show(settings: Shown): string;
};

/** Settings as the server tells them: every key is there. */
export type Shown = {
  access: string;
  admits: readonly string[];
  signing: readonly SigningKey[];
  deltas: { previous: number; devices: boolean; most: number };
  retention: { releases: number; youngerThan: number; grace: number };
  summaryGrace: number;
};

/** The settings of a published repository by the names that they have on the command line. */
export const repositorySettings: readonly Setting[] = [
  {
    name: 'access',
    form: 'public|private',
    what: 'who may read it: anybody, or whoever has the right to',
    read: (text) => ({ access: oneOf('access', text, ['public', 'private'] as const) }),
    show: ({ access }) => access,
  },
  {
    name: 'admits',
    form: 'LABEL,…',
    what: 'labels that it takes in beside public: internal, restricted, restricted:WHY',
    read: (text) => ({ admits: items(text) }),
    show: ({ admits }) => admits.join(',') || 'public',
  },
  {
    name: 'signing',
    form: 'KEY,…',
    what: 'ed25519:FILE, gpg:ID@HOME, command:ed25519:PROGRAM or command:gpg:PROGRAM, in the server’s folder keys',
    read: (text) => ({ signing: items(text).map(readKey) }),
    show: ({ signing }) => signing.map(showKey).join(',') || 'nothing',
  },
  {
    name: 'deltas.previous',
    form: 'NUMBER',
    what: 'static deltas from so many releases before',
    read: (text) => ({ deltas: { previous: number('deltas.previous', text) } }),
    show: ({ deltas }) => String(deltas.previous),
  },
  {
    name: 'deltas.devices',
    form: 'yes|no',
    what: 'static deltas from what devices of the channel run',
    read: (text) => ({ deltas: { devices: oneOf('deltas.devices', text, ['yes', 'no'] as const) === 'yes' } }),
    show: ({ deltas }) => (deltas.devices ? 'yes' : 'no'),
  },
  {
    name: 'deltas.most',
    form: 'NUMBER',
    what: 'at most so many static deltas for a release',
    read: (text) => ({ deltas: { most: number('deltas.most', text) } }),
    show: ({ deltas }) => String(deltas.most),
  },
  {
    name: 'retention.releases',
    form: 'NUMBER',
    what: 'the newest so many releases of each channel stay',
    read: (text) => ({ retention: { releases: number('retention.releases', text) } }),
    show: ({ retention }) => String(retention.releases),
  },
  {
    name: 'retention.youngerThan',
    form: 'DAYS',
    what: 'and all that are younger',
    read: (text) => ({ retention: { youngerThan: number('retention.youngerThan', text) } }),
    show: ({ retention }) => String(retention.youngerThan),
  },
  {
    name: 'retention.grace',
    form: 'DAYS',
    what: 'what is not kept goes so long after that',
    read: (text) => ({ retention: { grace: number('retention.grace', text) } }),
    show: ({ retention }) => String(retention.grace),
  },
  {
    name: 'summaryGrace',
    form: 'SECONDS',
    what: 'a new summary’s signature is there so long before it',
    read: (text) => ({ summaryGrace: number('summaryGrace', text) }),
    show: ({ summaryGrace }) => String(summaryGrace),
  },
];

/** Reads `name=value` words. Throws `usage`. */
export function readSettings(words: readonly string[]): RepositoryPatch {
  let patch: RepositoryPatch = {};
  for (const word of words) {
    const equals = word.indexOf('=');
    const name = equals < 0 ? word : word.slice(0, equals);
    const setting = repositorySettings.find((one) => one.name === name);
    if (!setting || equals < 0) {
      const message = setting ? `${name} has no value.` : `A repository has no setting "${name}".`;
      const known = repositorySettings.map((one) => `${one.name}=${one.form}`).join(', ');
      throw new CliError('usage', message, { hint: `There are: ${known}` });
    }
    const { deltas, retention, ...rest } = setting.read(word.slice(equals + 1));
    patch = {
      ...patch,
      ...rest,
      ...(deltas ? { deltas: { ...patch.deltas, ...deltas } } : {}),
      ...(retention ? { retention: { ...patch.retention, ...retention } } : {}),
    };
  }
  return patch;
}

function items(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function number(name: string, text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value;
  throw new CliError('usage', `${name} must be a number, not "${text}".`);
}

function oneOf<T extends string>(name: string, text: string, words: readonly T[]): T {
  const found = words.find((word) => word === text);
  if (found) return found;
  throw new CliError('usage', `${name} must be ${words.join(' or ')}, not "${text}".`);
}

/** `ed25519:FILE`, `gpg:ID@HOME` (an id may hold an @), `command:KIND:PROGRAM ARGUMENT…`. */
function readKey(text: string): SigningKey {
  const [type, ...words] = text.split(':');
  const rest = words.join(':');
  if (type === 'ed25519' && rest !== '') return { type, file: rest };
  const at = rest.lastIndexOf('@');
  if (type === 'gpg' && at > 0 && at < rest.length - 1) {
    return { type, key: rest.slice(0, at), home: rest.slice(at + 1) };
  }
  const [program = '', ...args] = words.slice(1).join(':').split(' ');
  const [kind] = words;
  if (type === 'command' && (kind === 'ed25519' || kind === 'gpg') && program !== '') {
    return { type, kind, command: [program, ...args] };
  }
  throw new CliError('usage', `"${text}" is no signing key.`, {
    hint: 'Write ed25519:FILE, gpg:ID@HOME, command:ed25519:PROGRAM or command:gpg:PROGRAM.',
  });
}

/** The reverse of `readKey`. */
export function showKey(key: SigningKey): string {
  if (key.type === 'ed25519') return `ed25519:${key.file}`;
  if (key.type === 'gpg') return `gpg:${key.key}@${key.home}`;
  return `command:${key.kind}:${key.command.join(' ')}`;
}
