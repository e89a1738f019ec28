import { accessSync, constants } from 'node:fs';
import { basename, delimiter, join } from 'node:path';
import { commonOptions, formatHelp, type Parsed, parseOptions, repoOption, UsageError } from './options.ts';
import type { RepoVerb } from './verb.ts';
import { ownVerbs, type VerbEntry, type VerbGroup, verbs } from './verb-table.ts';

/** How one calls this program: `ostree` where a link of that name leads here. */
const program = basename(process.argv[1] ?? '') === 'ostree' ? 'ostree' : 'treeline repo';

/**
 * `treeline repo …`: ostree's verbs, flags, output and exit codes: 0, 1 with `error: …` on stderr, 130 when
 * interrupted. An unknown verb is looked for as a program `ostree-VERB`, as ostree does.
 */
export async function main(argv: string[]): Promise<number> {
  const { name, rest } = takeVerb(argv);
  const known = name === undefined ? undefined : (own(verbs, name) ?? own(ownVerbs, name));
  if (known && 'verbs' in known) return runGroup(name!, known, rest);
  if (known) return runVerb(`${program} ${name}`, known, rest);
  const extension = name === undefined ? null : findProgram(`ostree-${name}`);
  if (extension) return runProgram(extension, argv);
  return noVerb({ name, rest, command: program, heading: 'Builtin Commands:', verbs, kind: 'command' });
}

function own<T>(record: Record<string, T>, key: string): T | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

/** The first argument that is no option is the verb: `ostree --repo=X VERB` is as good as `ostree VERB --repo=X`. */
function takeVerb(argv: string[]): { name: string | undefined; rest: string[] } {
  const end = argv.includes('--') ? argv.indexOf('--') : argv.length;
  const at = argv.findIndex((one, index) => index < end && !one.startsWith('-') && argv[index - 1] !== '--repo');
  if (at < 0) return { name: undefined, rest: argv };
  return { name: argv[at]!, rest: [...argv.slice(0, at), ...argv.slice(at + 1)] };
}

async function runGroup(group: string, { summary, verbs: inner }: VerbGroup, argv: string[]): Promise<number> {
  const { name, rest } = takeVerb(argv);
  const known = name === undefined ? undefined : own(inner, name);
  const command = `${program} ${group}`;
  if (known) return runVerb(`${command} ${name}`, known, rest);
  const heading = `Builtin "${group}" Commands:`;
  return noVerb({ name, rest, command, summary, heading, verbs: inner, kind: `"${group}" subcommand` });
}

async function runVerb(command: string, entry: VerbEntry, argv: string[]): Promise<number> {
  const controller = new AbortController();
  const stop = () => controller.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  let help = () => '';
  try {
    const verb = await entry.load();
    const options = { ...repoOption, ...verb.options };
    help = () => formatHelp({ command, usage: verb.usage, summary: entry.summary, options });
    const parsed = parseOptions(argv, verb.options);
    return (await general(parsed, help)) ?? (await run(verb, parsed, controller.signal));
  } catch (error) {
    if (error instanceof UsageError && error.showHelp) process.stderr.write(help());
    return fail(error);
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

async function run(verb: RepoVerb, parsed: Parsed, signal: AbortSignal): Promise<number> {
  return (await verb.run(parsed, signal)) ?? 0;
}

/** `--help` and `--version`, which all verbs have; null when neither is asked for. */
async function general(parsed: Parsed, help: () => string): Promise<number | null> {
  if (parsed.flag('help')) process.stdout.write(help());
  else if (parsed.flag('version')) process.stdout.write((await import('./version.ts')).versionText());
  else return null;
  return 0;
}

interface Missing {
  name: string | undefined;
  rest: string[];
  command: string;
  summary?: string;
  heading: string;
  verbs: Record<string, { summary: string }>;
  kind: string;
}

/** No verb, or one that there is not: what there is. */
async function noVerb({ name, rest, command, summary, heading, verbs: known, kind }: Missing): Promise<number> {
  const rows = (table: Record<string, { summary: string }>) =>
    Object.entries(table).map(([verb, { summary: text }]) => `  ${verb.padEnd(18)}${text}`);
  const lines = [...(summary ? [summary, ''] : []), heading, ...rows(known)];
  if (known === verbs) lines.push('', "Treeline's own Commands:", ...rows(ownVerbs));
  const help = () => formatHelp({ command, usage: 'COMMAND', summary: lines.join('\n'), options: {} });
  try {
    const done = await general(parseOptions(rest, commonOptions), help);
    if (done !== null) return done;
  } catch (error) {
    process.stderr.write(help());
    return fail(error);
  }
  process.stderr.write(help());
  return fail(new UsageError(name === undefined ? `No ${kind} specified` : `Unknown ${kind} '${name}'`));
}

/** Where a program of this name is, in the folder of ostree's extensions or on PATH. */
function findProgram(name: string): string | null {
  if (name.includes('/')) return null;
  for (const folder of ['/usr/libexec/libostree/ext', ...(process.env.PATH ?? '').split(delimiter)]) {
    const path = join(folder || '.', name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not here
    }
  }
  return null;
}

async function runProgram(path: string, argv: string[]): Promise<number> {
  const { spawnSync } = await import('node:child_process');
  const { status, error } = spawnSync(path, argv, { stdio: 'inherit' });
  if (error) return fail(new UsageError(`Executing ${path}: ${error.message}`));
  return status ?? 1;
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
