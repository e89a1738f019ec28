import type { Command } from 'commander';
import { CliError } from '../errors.ts';
import { formatBytes } from '../output/bytes.ts';
import { paint } from '../output/colour.ts';
import { printDocument, printText } from '../output/document.ts';
import { formatDuration } from '../output/duration.ts';
import { type LiveLines, liveLines } from '../output/progress.ts';
import { count, shortId } from '../output/words.ts';
import { openRepo, type PushProgress, type PushStats, push, readRef, resolveRev, setRef } from '../push/engine.ts';
import { findReceiver } from '../push/receiver.ts';
import { defaultRepoPath } from '../repo/default-repo.ts';
import { optionsOf, type Session } from '../session.ts';

type PushOptions = {
  repo?: string;
  commit?: string;
  as?: string;
  expect?: string;
  force?: boolean;
  depth?: string;
  dryRun?: boolean;
  server?: string;
  token?: string;
  data?: string;
  json?: boolean;
};

export function declare(command: Command, session: Session): void {
  command
    .description(
      'Send a commit of a repository here to the store of a server, and move a ref there to it. Only what is missing ' +
        'there is sent, and what was cut off goes on where it was. The ref is moved if it is new, if what is sent ' +
        'descends from what it holds, or if that is what was pushed last; otherwise name with --expect what it is to ' +
        'replace.',
    )
    .argument('<words...>', '[REMOTE] REF; REMOTE is a URL or a remote of the repository, by default the server')
    .usage('[options] [REMOTE] REF')
    .option('--repo <dir>', 'the repository here (default: as `treeline repo` finds it)')
    .option('--commit <rev>', 'what to send (default: what REF is here)')
    .option('--as <ref>', 'the name of the ref there (default: REF)')
    .option('--expect <commit>', 'move the ref only if it holds this commit; `none`: only if it does not exist')
    .option('--force', 'move the ref whatever it holds; a permission of its own')
    .option('--depth <n>', 'send so many parents, too; -1: all that are here')
    .option('--dry-run', 'only say what would be sent')
    .addHelpText(
      'after',
      `
Examples:
  treeline push robot/stable
  treeline push https://treeline.example.org robot/stable --token …
  treeline push origin robot/stable --commit robot/stable^ --force

A remote of the repository is found in its configuration: \`push-url\`, else \`url\`;
what it says of certificates, proxies and headers counts.`,
    )
    .action(async (words: string[], _: object, self: Command) => {
      await run(words, optionsOf<PushOptions>(self), session);
    });
}

async function run(words: string[], options: PushOptions, session: Session): Promise<void> {
  if (words.length > 2) {
    throw new CliError('usage', `There is one ref too many: ${words.slice(2).join(' ')}.`, {
      hint: 'treeline push [REMOTE] REF',
    });
  }
  const ref = words.at(-1)!;
  const repo = await openRepo(repoPath(options));
  const receiver = await findReceiver(repo, words.length === 2 ? words[0]! : null, options);
  const target = options.as ?? ref;
  const tracking = receiver.remote === null ? null : `${receiver.remote}:${target}`;
  const expect =
    options.expect === undefined
      ? {}
      : { expect: options.expect === 'none' ? null : await resolveRev(repo, options.expect) };
  const screen = liveLines(process.stderr);
  const began = Date.now();
  session.interruptedHint = 'What has been sent is kept for a day: the same command goes on where it was.';
  let stats: PushStats;
  try {
    stats = await push(repo, receiver.url, {
      ...receiver.options,
      ref: target,
      rev: options.commit ?? ref,
      ...expect,
      ...(tracking === null ? {} : { lastSeen: await readRef(repo, tracking) }),
      ...(options.depth === undefined ? {} : { depth: depthOf(options.depth) }),
      force: options.force === true,
      dryRun: options.dryRun === true,
      signal: session.signal,
      onProgress: (progress) => show(screen, progress, target),
    });
  } catch (error) {
    session.signal.throwIfAborted();
    throw explain(error, { ref: target, origin: new URL(receiver.url).origin });
  } finally {
    screen.close();
  }
  // So that the next push knows what it may replace. A repository that cannot be written to goes without.
  if (tracking !== null && !options.dryRun) await setRef(repo, tracking, stats.commit).catch(() => {});
  if (options.json)
    return printDocument({ ...stats, milliseconds: Date.now() - began, dryRun: options.dryRun === true });
  for (const line of summary(stats, { dryRun: options.dryRun === true, milliseconds: Date.now() - began }))
    printText(line);
}

function repoPath(options: PushOptions): string {
  const path = options.repo ?? defaultRepoPath();
  if (path !== null) return path;
  throw new CliError('usage', 'There is no repository here to push from.', {
    hint: 'Name it with --repo DIR, or set OSTREE_REPO.',
  });
}

function depthOf(text: string): number {
  if (/^(-1|\d{1,6})$/.test(text)) return Number(text);
  throw new CliError('usage', `--depth must be a number of parents, or -1 for all: ${text}`);
}

function show(screen: LiveLines, progress: PushProgress, ref: string): void {
  if (!screen.live) return;
  const { phase, objects, objectsKnown, bytes, bytesExpected, rate, secondsLeft } = progress;
  const words = {
    asking: `asking what is missing for ${ref}`,
    finishing: `moving ${ref}`,
    sending: [
      `sending ${objects} of ${objectsKnown} objects`,
      `${formatBytes(bytes)}${bytesExpected === null ? '' : ` of ${formatBytes(bytesExpected)}`}`,
      `${formatBytes(rate)}/s`,
      ...(secondsLeft === null ? [] : [`${formatDuration(secondsLeft * 1000)} left`]),
    ].join('  '),
  };
  screen.show([paint('dim', `${screen.tick()} ${words[phase]}`, process.stderr)]);
}

function summary(stats: PushStats, o: { dryRun: boolean; milliseconds: number }): string[] {
  const { ref, commit, from, objects, bytes, upToDate } = stats;
  const name = paint('bold', ref);
  const size = bytes === null ? 'of a size that is known when they are compressed' : formatBytes(bytes);
  if (o.dryRun) {
    const was = from === null ? 'is new there' : from === commit ? 'is that already' : `is ${shortId(from)} there`;
    return [`${name} ${was}; ${shortId(commit)} needs ${count(objects, 'object')}, ${size}`];
  }
  if (upToDate) return [`${name} is ${shortId(commit)} there already`];
  const was = from === null ? 'new' : from === commit ? 'as before' : `was ${shortId(from)}`;
  const sent = `${count(objects, 'object')}, ${size} in ${formatDuration(o.milliseconds)}`;
  return [`${name} is now ${shortId(commit)} (${was})`, paint('dim', sent)];
}

/** The engine's errors, with what one can do about them here. */
function explain(error: unknown, { ref, origin }: { ref: string; origin: string }): unknown {
  if (!(error instanceof Error) || error.name !== 'OstreeError') return error;
  const { code, hint, current } = error as { code?: string; hint?: string; current?: string | null };
  if (code === 'conflict' && current !== undefined) {
    const message =
      current === null
        ? `${ref} does not exist at ${origin}.`
        : `${ref} at ${origin} holds ${current}, which this would replace.`;
    return new CliError('conflict', message, {
      cause: error,
      hint:
        current === null
          ? 'Leave --expect out to make it, or expect `none`.'
          : `See what it is: treeline show ${shortId(current)}. Push something that descends from it, or replace it: ` +
            `--expect ${current}; --force replaces whatever is there.`,
    });
  }
  if (code === 'network') return new CliError('unreachable', error.message, { cause: error, hint });
  if (code === 'forbidden') {
    return new CliError('not-allowed', error.message, {
      cause: error,
      hint: hint ?? 'Pass a token that allows it with --token or TREELINE_TOKEN.',
    });
  }
  return error;
}
