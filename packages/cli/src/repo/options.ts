/** One option of a verb, with what `--help` says of it. */
export interface OptionSpec {
  /** `integer` is a string that is checked to be one. */
  type: 'string' | 'boolean' | 'integer';
  short?: string;
  /** May be given more than once; of others the last counts. */
  multiple?: boolean;
  /** What takes a value may also be given without one (then it is an empty string); only as `--option=VALUE`. */
  optional?: boolean;
  /** Not in the help. */
  hidden?: boolean;
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

/** A command line that is wrong; its message goes to stderr as `error: …`. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code = 'usage';
  /** Whether the help of the verb is to be shown above the message. */
  readonly showHelp: boolean;

  constructor(message: string, options: { showHelp?: boolean } = {}) {
    super(message);
    this.showHelp = options.showHelp ?? false;
  }
}

/** Options that every verb takes. */
export const commonOptions: Record<string, OptionSpec> = {
  verbose: { type: 'boolean', short: 'v', help: 'Print debug information during command processing' },
  version: { type: 'boolean', help: 'Print version information and exit' },
};

/** Where the repository is: an option of all verbs but those that need none. */
export const repoOption: Record<string, OptionSpec> = {
  repo: {
    type: 'string',
    argument: 'PATH',
    help: 'Path to OSTree repository (defaults to current directory or /ostree/repo)',
  },
};

const helpOption: Record<string, OptionSpec> = {
  help: { type: 'boolean', short: 'h', help: 'Show help options' },
};

/**
 * Reads a verb's arguments the way GLib does, since scripts depend on it: options anywhere until `--`, `--name value`
 * and `--name=value`, where a value may begin with a dash (`--depth -1`), `-abc` for flags, `-b value` and `-bvalue`.
 *
 * @throws UsageError with GLib's words
 */
export function parseOptions(argv: string[], options: Record<string, OptionSpec>): Parsed {
  const all = { ...helpOption, ...repoOption, ...options };
  for (const [name, spec] of Object.entries(commonOptions)) {
    const { short, ...rest } = spec;
    const taken = short !== undefined && Object.values(options).some((other) => other.short === short);
    all[name] ??= taken ? rest : spec; // `summary -v` is --view
  }
  const values = new Map<string, (string | true)[]>();
  const positionals: string[] = [];
  let index = 0;
  const give = (name: string, shown: string, attached: string | undefined) => {
    const spec = all[name]!;
    let value: string | true = true;
    if (spec.type !== 'boolean') {
      value = attached ?? (spec.optional ? '' : nextArgument(argv, ++index, shown));
      if (spec.type === 'integer') assertInteger(value, shown);
    }
    values.set(name, spec.multiple ? [...(values.get(name) ?? []), value] : [value]);
  };
  for (; index < argv.length; index++) {
    const argument = argv[index]!;
    if (argument === '--') {
      positionals.push(...argv.slice(index + 1));
      break;
    }
    if (argument.startsWith('--')) longOption(argument, all, give);
    else if (argument.startsWith('-') && argument !== '-') shortOptions(argument, all, give);
    else positionals.push(argument);
  }
  return {
    text: (name) => values.get(name)?.at(-1) as string | undefined,
    list: (name) => (values.get(name) as string[] | undefined) ?? [],
    flag: (name) => values.has(name),
    positionals,
  };
}

type Give = (name: string, shown: string, attached: string | undefined) => void;

function longOption(argument: string, all: Record<string, OptionSpec>, give: Give): void {
  const equals = argument.indexOf('=');
  const name = equals < 0 ? argument.slice(2) : argument.slice(2, equals);
  const known = Object.hasOwn(all, name) && (equals < 0 || all[name]!.type !== 'boolean');
  if (!known) throw new UsageError(`Unknown option ${argument}`);
  give(name, `--${name}`, equals < 0 ? undefined : argument.slice(equals + 1));
}

function shortOptions(argument: string, all: Record<string, OptionSpec>, give: Give): void {
  for (let at = 1; at < argument.length; at++) {
    const letter = argument[at]!;
    const name = Object.keys(all).find((key) => all[key]!.short === letter);
    if (name === undefined) throw new UsageError(`Unknown option ${argument}`);
    const flag = all[name]!.type === 'boolean';
    give(name, `-${letter}`, flag ? undefined : argument.slice(at + 1) || undefined);
    if (!flag) return; // the rest was its value
  }
}

function nextArgument(argv: string[], index: number, shown: string): string {
  const value = argv[index];
  if (value === undefined) throw new UsageError(`Missing argument for ${shown}`);
  return value;
}

function assertInteger(value: string, shown: string): void {
  if (!/^[+-]?\d+$/.test(value)) throw new UsageError(`Cannot parse integer value “${value}” for ${shown}`);
  if (Math.abs(Number(value)) > 0x7fffffff) {
    throw new UsageError(`Integer value “${value}” for ${shown} out of range`);
  }
}

export interface HelpText {
  /** The program and the verb, as one calls them. */
  command: string;
  /** Positional arguments. */
  usage: string;
  summary: string;
  options: Record<string, OptionSpec>;
}

/** The text of `--help`, in the form of GLib's. */
export function formatHelp({ command, usage, summary, options }: HelpText): string {
  const shown = Object.entries({ ...options, ...commonOptions }).filter(([, { hidden }]) => !hidden);
  const rows = (entries: [string, OptionSpec][]) =>
    entries.map(([name, spec]): [string, string] => {
      const short = spec.short && options[name] === spec ? spec.short : shortOf(name, spec, options);
      return [`${short ? `-${short}, ` : ''}--${name}${spec.argument ? `=${spec.argument}` : ''}`, spec.help];
    });
  const help = rows(Object.entries(helpOption));
  const application = rows(shown);
  const width = Math.max(...[...help, ...application].map(([left]) => left.length)) + 2;
  const line = ([left, right]: [string, string]) => `  ${left.padEnd(width)}${right}`;
  return [
    'Usage:',
    `  ${command} [OPTION…]${usage ? ` ${usage}` : ''}`,
    '',
    summary,
    '',
    'Help Options:',
    ...help.map(line),
    '',
    'Application Options:',
    ...application.map(line),
    '',
    '',
  ].join('\n');
}

function shortOf(name: string, { short }: OptionSpec, options: Record<string, OptionSpec>): string | undefined {
  if (!short) return undefined;
  const taken = Object.entries(options).some(([other, spec]) => other !== name && spec.short === short);
  return taken ? undefined : short;
}
