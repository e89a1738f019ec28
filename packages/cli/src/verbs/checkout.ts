import { lstat, readdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { PullProgress } from '@treeline/ostree';
import type { Command } from 'commander';
import type { Client } from '../connection/client.ts';
import { dataFolder, shortPath } from '../connection/folder.ts';
import { CliError } from '../errors.ts';
import { formatBytes } from '../output/bytes.ts';
import { paint } from '../output/colour.ts';
import { printDocument, printText } from '../output/document.ts';
import { formatDuration } from '../output/duration.ts';
import { type LiveLines, liveLines } from '../output/progress.ts';
import { shortId } from '../output/words.ts';
import { fetchReleases, resolveCommit } from '../revisions.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

type CheckoutOptions = {
  device?: string;
  subpath?: string;
  plain?: boolean;
  userMode?: boolean;
  data?: string;
  server?: string;
  json?: boolean;
};
type Context = { options: CheckoutOptions; session: Session };

export function declare(command: Command, session: Session): void {
  command
    .description(
      'Write the tree of a commit to a new folder, a workspace: change what you like in it (treeline enter), see what ' +
        'you changed (treeline diff production mine), commit it (treeline commit). The commit is read from the data folder ' +
        'of this machine, or from the server.',
    )
    .usage('[options] REV DIR | --device ID DIR')
    .argument('<words...>', 'REV: a channel (robot/stable), `production`, a release number, project/artifact, a commit')
    .option('--device <id>', 'what this device runs now')
    .option('-U, --user-mode', 'files belong to who calls this (always so unless called by root)')
    .option('--plain', 'only the files: nothing remembers where they are from')
    .option('--subpath <path>', 'only this folder of the tree; plain')
    .addHelpText(
      'after',
      '\nExamples:\n  treeline checkout robot/stable ~/robot\n  treeline checkout --device robot-1 ~/robot-1',
    )
    .action((words: string[], _: object, self: Command) => run(words, { self, session }));
}

async function run(words: string[], o: { self: Command; session: Session }): Promise<void> {
  const options = optionsOf<CheckoutOptions>(o.self);
  const context = { options, session: o.session };
  if (words.length !== (options.device === undefined ? 2 : 1)) {
    throw new CliError(
      'usage',
      options.device === undefined ? 'Say what and where to.' : 'Say where to, and only that.',
      {
        hint: 'treeline checkout REV DIR, or treeline checkout --device ID DIR',
      },
    );
  }
  const destination = resolve(words.at(-1)!);
  await checkDestination(destination);
  const isPlain = options.plain === true || options.subpath !== undefined;
  if (isPlain && options.device === undefined) return plainCheckout(words[0]!, destination, context);

  const { makeWorkspace } = await import('../workspace/make.ts');
  const screen = liveLines(process.stderr);
  const began = Date.now();
  try {
    const found =
      options.device === undefined ? await byName(words[0]!, context) : await byDevice(options.device, context);
    const { workspace, stats, linked } = await makeWorkspace(found, destination, {
      options,
      alsoAt: found.at,
      userMode: isUserMode(options),
      signal: o.session.signal,
      onProgress: (progress) => screen.show([fetching(screen, progress)]),
      onFiles: ({ files }) => screen.show([paint('dim', `${screen.tick()} ${files} files`, process.stderr)]),
    });
    const milliseconds = Date.now() - began;
    screen.close();
    const { commit, channel, name } = found;
    const title = commit.startsWith(name) ? shortId(commit) : `${name} ${shortId(commit)}`;
    if (options.json)
      return printDocument({ commit, name, channel, path: destination, milliseconds, linked, ...stats });
    printText(`${shortPath(destination)} holds ${title} (${formatDuration(milliseconds)})`);
    printText(paint('dim', hints(shortPath(workspace.folder))));
  } finally {
    screen.close();
  }
}

function hints(folder: string): string {
  return `Change it: treeline enter ${folder}   Keep it: treeline commit ${folder}`;
}

function fetching(screen: LiveLines, { objects, objectsKnown, bytes }: PullProgress): string {
  return paint(
    'dim',
    `${screen.tick()} fetching ${objects} of ${objectsKnown} objects  ${formatBytes(bytes)}`,
    process.stderr,
  );
}

function isUserMode(options: CheckoutOptions): boolean {
  return options.userMode === true || process.getuid?.() !== 0;
}

/** What to check out, its channel if it came by one, and where else it may be. */
type Found = { commit: string; name: string; channel: string | null; at: readonly string[] };

async function byDevice(id: string, { options, session }: Context): Promise<Found> {
  const { deviceSide } = await import('../workspace/sides.ts');
  const { commit, name, channel, at } = await deviceSide(id, { session, options });
  return { commit, name, channel, at };
}

async function byName(rev: string, { options, session }: Context): Promise<Found> {
  const { readSide } = await import('../workspace/sides.ts');
  const side = await readSide(rev, { session, options }).catch(async (error: unknown) => {
    // By a checksum the store of this machine is enough.
    const commit = await fromStore(rev, error, options);
    return { kind: 'elsewhere' as const, name: rev, commit, at: [] };
  });
  if (side.kind === 'workspace') {
    throw new CliError('usage', `${side.name} is a workspace, not a commit.`, {
      hint: `Commit it (treeline commit ${side.name}), then check out its ref.`,
    });
  }
  const { name, commit } = side;
  if (side.kind === 'elsewhere') return { name, commit, channel: null, at: side.at };
  return { name, commit, channel: await channelOf(clientOf(session, options), name, commit), at: [] };
}

/** The channel whose release a commit is: the one that was named, or the only one. */
async function channelOf(client: Client, name: string, commit: string): Promise<string | null> {
  const { releases } = await fetchReleases(client, { limit: 1000 });
  const channels = new Set(
    releases.filter((one) => one.commit === commit).map((one) => `${one.repository}:${one.channel}`),
  );
  const base = name.replace(/\^+$/, '');
  const named = [base, `public:${base}`].find((one) => channels.has(one));
  const [only = null] = channels;
  return named ?? (channels.size === 1 ? only : null);
}

async function fromStore(rev: string, error: unknown, options: CheckoutOptions): Promise<string> {
  if (!(error instanceof CliError) || error.code !== 'unreachable' || options.server) throw error;
  const { openRepo, resolveRev } = await import('@treeline/ostree');
  const repo = await openRepo(join(dataFolder(options.data), 'store')).catch(() => null);
  if (!repo) throw error;
  return await resolveRev(repo, rev).catch(() => {
    throw new CliError('not-found', `The store does not know "${rev}" by itself, and the server is not running.`, {
      cause: error,
      hint: `${error.hint ?? ''}\nOr give (the beginning of) a commit's checksum.`.trim(),
    });
  });
}

async function plainCheckout(rev: string, destination: string, context: Context): Promise<void> {
  const { options, session } = context;
  const { openRepo, checkout, readCommit } = await import('@treeline/ostree');
  const { intoPlace } = await import('../workspace/place.ts');
  const store = join(dataFolder(options.data), 'store');
  const repo = await openRepo(store).catch((cause: unknown) => {
    throw new CliError('not-found', `There is no store at ${shortPath(store)}: that is where files are read from.`, {
      cause,
      hint: 'Name the data folder with --data DIR, or check out a workspace: without --plain and --subpath.',
    });
  });
  const commit = await findCommit(rev, context);
  const { tree } = await readCommit(repo, commit);
  const began = Date.now();
  const stats = await intoPlace(destination, (to) =>
    checkout(repo, tree, to, {
      userMode: isUserMode(options),
      signal: session.signal,
      ...(options.subpath ? { subpath: options.subpath } : {}),
    }),
  );
  const milliseconds = Date.now() - began;
  if (options.json) return printDocument({ commit, path: destination, milliseconds, ...stats });
  printText(`${shortPath(destination)} holds ${shortId(commit)} (${formatDuration(milliseconds)})`);
}

/** The commit by the server's names; by the store's own when the server is not running. */
async function findCommit(rev: string, { options, session }: Context): Promise<string> {
  try {
    return await resolveCommit(clientOf(session, options), rev);
  } catch (error) {
    return fromStore(rev, error, options);
  }
}

async function checkDestination(path: string): Promise<void> {
  let entries: string[];
  try {
    entries = await readdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') {
      const parent = await lstat(dirname(path)).catch(() => null);
      if (parent) return;
      throw new CliError('not-found', `The folder ${dirname(path)} does not exist.`, {
        cause: error,
        hint: `mkdir -p ${dirname(path)}`,
      });
    }
    if (code === 'ENOTDIR')
      throw new CliError('conflict', `${path} exists and is no folder.`, { cause: error, hint: 'Choose another one.' });
    throw error;
  }
  if (entries.length > 0) {
    throw new CliError('conflict', `The folder ${path} is not empty.`, {
      hint: 'Choose a folder that does not exist yet.',
    });
  }
}
