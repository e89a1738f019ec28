import { formatHelp, parseOptions, UsageError } from './options.ts';
import type { RepoVerb } from './verb.ts';

/** The verbs, each loaded when it is called. */
const verbs: Record<string, () => Promise<RepoVerb>> = {
  cat: async () => (await import('./verbs/cat.ts')).cat,
  checkout: async () => (await import('./verbs/checkout.ts')).checkoutVerb,
  commit: async () => (await import('./verbs/commit.ts')).commit,
  config: async () => (await import('./verbs/config.ts')).config,
  diff: async () => (await import('./verbs/diff.ts')).diff,
  fsck: async () => (await import('./verbs/fsck.ts')).fsckVerb,
  'gpg-sign': async () => (await import('./verbs/gpg-sign.ts')).gpgSign,
  init: async () => (await import('./verbs/init.ts')).init,
  log: async () => (await import('./verbs/log.ts')).log,
  ls: async () => (await import('./verbs/ls.ts')).ls,
  pull: async () => (await import('./verbs/pull.ts')).pullVerb,
  'pull-local': async () => (await import('./verbs/pull-local.ts')).pullLocal,
  refs: async () => (await import('./verbs/refs.ts')).refs,
  remote: async () => (await import('./verbs/remote.ts')).remote,
  'rev-parse': async () => (await import('./verbs/rev-parse.ts')).revParse,
  serve: async () => (await import('./verbs/serve.ts')).serve,
  show: async () => (await import('./verbs/show.ts')).show,
  sign: async () => (await import('./verbs/sign.ts')).sign,
  summary: async () => (await import('./verbs/summary.ts')).summary,
};

const summaries: Record<string, string> = {
  cat: 'Concatenate contents of files',
  checkout: 'Check out a commit into a filesystem tree',
  commit: 'Commit a new revision',
  config: 'Change repo configuration settings',
  diff: 'Compare directory TARGETDIR against revision REV',
  fsck: 'Check the repository for consistency',
  'gpg-sign': 'Sign a commit',
  init: 'Initialize a new empty repository',
  log: 'Show log starting at commit or ref',
  ls: 'List file paths',
  pull: 'Download data from remote repository',
  'pull-local': 'Copy data from SRC_REPO',
  refs: 'List refs',
  remote: 'Remote commands',
  'rev-parse': 'Output the target of a rev',
  serve: 'Serve the repository over HTTP',
  show: 'Output a metadata object',
  sign: 'Sign a commit',
  summary: 'Manage summary metadata',
};

/** `treeline repo …`: ostree's verbs, flags, output and exit codes: 0, 1 with `error: …` on stderr, 130 when interrupted. */
export async function main(argv: string[]): Promise<number> {
  // `ostree --repo=X VERB` is as good as `ostree VERB --repo=X`.
  const at = argv.findIndex((argument, index) => !argument.startsWith('-') && argv[index - 1] !== '--repo');
  const name = at < 0 ? undefined : argv[at]!;
  const rest = at < 0 ? argv : [...argv.slice(0, at), ...argv.slice(at + 1)];
  if (name === undefined || !Object.hasOwn(verbs, name)) return usage(name, rest);
  const controller = new AbortController();
  const stop = () => controller.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    const verb = await verbs[name]!();
    const parsed = parseOptions(rest, verb.options);
    if (parsed.flag('help')) {
      process.stdout.write(formatHelp(name, verb.usage, summaries[name]!, verb.options));
      return 0;
    }
    return (await verb.run(parsed, controller.signal)) ?? 0;
  } catch (error) {
    return fail(error);
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

function usage(name: string | undefined, rest: string[]): number {
  const asked = name === undefined && (rest.includes('--help') || rest.includes('-h'));
  const out = asked ? process.stdout : process.stderr;
  const list = Object.entries(summaries).map(([verb, summary]) => `  ${verb.padEnd(18)}${summary}`);
  out.write(`Usage:\n  treeline repo [OPTION…] COMMAND\n\nCommands:\n${list.join('\n')}\n\n`);
  if (asked) return 0;
  process.stderr.write(`error: ${name === undefined ? 'No command specified' : `Unknown command '${name}'`}\n`);
  return 1;
}

function fail(error: unknown): number {
  if (!(error instanceof Error)) throw error;
  const aborted = error.name === 'AbortError';
  process.stderr.write(`error: ${aborted ? 'Interrupted' : error.message}\n`);
  const hint = 'hint' in error && typeof error.hint === 'string' ? error.hint : undefined;
  if (hint) process.stderr.write(`${hint}\n`);
  // What nobody foresaw shows where it happened.
  if (!aborted && !(error instanceof UsageError) && !('code' in error)) process.stderr.write(`${error.stack}\n`);
  return aborted ? 130 : 1;
}
