import { type ParseArgsConfig, parseArgs } from 'node:util';

/** One option of a verb, with what `--help` says of it. */
export interface OptionSpec {
  type: 'string' | 'boolean';
  short?: string;
  /** May be given more than once. */
  multiple?: boolean;
  help: string;
  /** Name of the value in the help. */
  argument?: string;
}

/** What a verb was given. Strings, booleans and lists, by the option's name. */
export interface Parsed {
  text(name: string): string | undefined;
  list(name: string): string[];
  flag(name: string): boolean;
  positionals: string[];
}

/** A command line that is wrong; its message goes to stderr as `error: …` below the usage. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code = 'usage';
}

/** Options that every verb takes. */
const commonOptions: Record<string, OptionSpec> = {
  repo: {
    type: 'string',
    argument: 'PATH',
    help: 'Path to OSTree repository (defaults to current directory or /sysroot/ostree/repo)',
  },
  verbose: { type: 'boolean', short: 'v', help: 'Print debug information during command processing' },
  help: { type: 'boolean', short: 'h', help: 'Show help options' },
};

/** Reads a verb's arguments the way GLib does: options anywhere, `--` ends them. Throws UsageError. */
export function parseOptions(argv: string[], options: Record<string, OptionSpec>): Parsed {
  const all = { ...commonOptions, ...options };
  const config: ParseArgsConfig['options'] = Object.fromEntries(
    Object.entries(all).map(([name, { type, short, multiple }]) => [
      name,
      { type, ...(short ? { short } : {}), ...(multiple ? { multiple } : {}) },
    ]),
  );
  let values: Record<string, unknown>;
  let positionals: string[];
  try {
    ({ values, positionals } = parseArgs({ args: argv, options: config, allowPositionals: true, strict: true }));
  } catch (error) {
    const message = (error as Error).message;
    const unknown = /Unknown option '([^']+)'/.exec(message)?.[1];
    throw new UsageError(unknown ? `Unknown option ${unknown}` : message.split('\n')[0]!.replace(/\. .*/, ''));
  }
  return {
    text: (name) => values[name] as string | undefined,
    list: (name) => (values[name] as string[] | undefined) ?? [],
    flag: (name) => values[name] === true,
    positionals,
  };
}

/** The text of `--help`, in the form of GLib's. */
export function formatHelp(verb: string, usage: string, summary: string, options: Record<string, OptionSpec>): string {
  const line = ([name, { short, argument, help }]: [string, OptionSpec]) => {
    const left = `  ${short ? `-${short}, ` : ''}--${name}${argument ? `=${argument}` : ''}`;
    return `${left.padEnd(32)} ${help}`;
  };
  return [
    'Usage:',
    `  treeline repo ${verb} [OPTION…]${usage ? ` ${usage}` : ''}`,
    '',
    summary,
    '',
    'Options:',
    ...Object.entries({ ...options, ...commonOptions }).map(line),
    '',
  ].join('\n');
}
