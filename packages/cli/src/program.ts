import { closeSync, openSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { trustAuthorities } from './connection/certificates.ts';
import type { GlobalOptions } from './connection/server.ts';
import { CliError, exitCodeMeanings, exitCodes, toCliError } from './errors.ts';
import { printError } from './output/failure.ts';
import type { Session } from './session.ts';
import { type Verb, verbs } from './verbs.ts';

const version = '0.1.0';

/** Options of the program that take a value: where a verb may begin depends on them. */
const valued = new Set(['--server', '--token', '--data', '--ca', '--client-cert', '--client-key']);

/** Runs one command line and resolves to the exit code. Everything that is printed as an error is printed here. */
export async function main(argv: string[]): Promise<number> {
  const interrupt = new AbortController();
  const session: Session = {
    signal: interrupt.signal,
    reread: undefined,
    interruptedHint: undefined,
    client: undefined,
  };
  const stop = (signal: NodeJS.Signals) => {
    // The second one does not wait for anything any more.
    if (interrupt.signal.aborted) process.exit(exitCodes.interrupted);
    interrupt.abort(new DOMException(signal, 'AbortError'));
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop);
  process.on('SIGHUP', (signal) => {
    if (session.reread && !lostTerminal()) session.reread();
    else stop(signal);
  });
  // A reader that has seen enough (`treeline runs | head -3`), or a terminal that is gone, ends the verb in good order.
  let readerIsGone = false;
  process.stdout.on('error', () => {
    readerIsGone = true;
    interrupt.abort(new DOMException('nobody reads', 'AbortError'));
  });
  process.stderr.on('error', () => {});

  const called = verbOf(argv);
  try {
    const program = createProgram();
    await declareVerbs(program, session, called);
    if (argv.length === 0) {
      program.outputHelp();
      return exitCodes.ok;
    }
    await program.parseAsync(argv, { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : exitCodes.ok;
  } catch (thrown) {
    if (readerIsGone) return exitCodes.ok;
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return exitCodes.ok;
    const error = thrown instanceof CommanderError ? usageError(thrown, called) : explain(thrown, session);
    printError(error, { json: argv.includes('--json') });
    return exitCodes[error.code];
  }
}

/** Whether it was started in a terminal that is gone: that is the other reason for SIGHUP. */
function lostTerminal(): boolean {
  if (!process.stdin.isTTY && !process.stdout.isTTY && !process.stderr.isTTY) return false;
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return false;
  } catch {
    return true;
  }
}

function createProgram(): Command {
  const program = new Command('treeline')
    .description('From many git repositories to a device in the field that has updated itself.')
    .usage('[options] VERB …')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help; also: treeline help VERB')
    .option('--server <url>', 'the server; or TREELINE_SERVER')
    .option('--token <token>', 'access token; or TREELINE_TOKEN')
    .option('--data <dir>', 'data folder of a server here; or TREELINE_DATA')
    .option('--ca <file>', 'trust these authorities, too; or TREELINE_CA')
    .option('--client-cert <file>', 'certificate to show; or TREELINE_CLIENT_CERT')
    .option('--client-key <file>', 'its key; or TREELINE_CLIENT_KEY')
    .option('--json', 'print JSON, for programs')
    // Of the whole process, so that runners, pulls and pushes trust them as well.
    .hook('preAction', (_, command) => {
      const authorities = command.optsWithGlobals<GlobalOptions>().ca ?? process.env.TREELINE_CA;
      if (authorities) trustAuthorities(authorities);
    })
    .exitOverride()
    .showSuggestionAfterError(true)
    // Printed below, in the form of every other error.
    .configureOutput({ outputError: () => {} })
    .configureHelp({
      subcommandTerm: (command) =>
        `${command.name()} ${command.usage().replace(/\[(options|command)\] ?/g, '')}`.trim(),
    })
    .addHelpText('after', () => `\n${findingTheServer}\n\nExit codes:\n${exitCodeTable()}`);
  program.helpCommand('help [VERB]', 'print the help of a verb');
  return program;
}

const findingTheServer = `The server is found by --server, else TREELINE_SERVER, else in the data folder:
--data, else TREELINE_DATA, else $XDG_DATA_HOME/treeline, which is
~/.local/share/treeline. There the admin token is read, too.`;

/** Commander's complaint in the form of every other error here. */
function usageError(complaint: CommanderError, called: string | undefined): CliError {
  const [message = '', ...suggestion] = complaint.message
    .replace(/^error: /, '')
    .trimEnd()
    .split('\n');
  const known = verbs.some((verb) => isCalled(verb, called));
  return new CliError('usage', `${message.charAt(0).toUpperCase()}${message.slice(1).replace(/\.?$/, '.')}`, {
    cause: complaint,
    hint: [...suggestion, `See: treeline ${known ? `${called} ` : ''}--help`].join('\n').replace(/^\((.*)\)$/m, '$1'),
  });
}

function exitCodeTable(): string {
  return exitCodeMeanings.map(([code, meaning]) => `  ${String(code).padStart(3)}  ${meaning}`).join('\n');
}

/** Gives the program all verbs: the one that is called with all it has, the others as a line of help. */
async function declareVerbs(program: Command, session: Session, called: string | undefined): Promise<void> {
  for (const verb of verbs) {
    const command = program.command(verb.name, { hidden: verb.hidden === true }).summary(verb.summary);
    command.description(sentence(verb));
    if (verb.alias) command.alias(verb.alias);
    if (isCalled(verb, called)) {
      command.addHelpText('afterAll', '\nAlso: --server, --token, --data, --json (treeline --help)');
      (await verb.load()).declare(command, session);
    } else command.usage(verb.usage);
  }
  // Listed here for the help only: main.ts takes `repo` before this module is loaded.
  program.command('repo').summary("work on an OSTree repository with ostree's own verbs").usage('VERB …');
}

function isCalled(verb: Verb, word: string | undefined): boolean {
  return word !== undefined && (verb.name === word || verb.alias === word);
}

function sentence(verb: Verb): string {
  return `${verb.summary.charAt(0).toUpperCase()}${verb.summary.slice(1)}.`;
}

/** The verb of a command line: its first word that is neither an option nor an option's value (`help X` is X). */
export function verbOf(argv: string[]): string | undefined {
  const words: string[] = [];
  for (let index = 0; index < argv.length && words.length < 2; index++) {
    const word = argv[index]!;
    if (valued.has(word)) index++;
    else if (!word.startsWith('-')) words.push(word);
  }
  return words[0] === 'help' ? words[1] : words[0];
}

/** What was thrown, with what this call knows about it. */
function explain(thrown: unknown, session: Session): CliError {
  if (session.signal.aborted && !(thrown instanceof CliError && thrown.code === 'failed')) {
    return new CliError('interrupted', 'Interrupted.', { cause: thrown, hint: session.interruptedHint });
  }
  const { lastAnswer } = session.client ?? {};
  if (lastAnswer && (thrown instanceof TypeError || thrown instanceof RangeError)) {
    // Answers are not checked field by field (that would cost every call the loading of a validator): one that is
    // not of the agreed form shows here, when it is printed.
    return new CliError(
      'server',
      `The answer to ${lastAnswer} is not of the form that was agreed: ${thrown.message}.`,
      {
        cause: thrown,
        hint: 'Is the server of the same version as this command? treeline --version; TREELINE_DEBUG=1 shows where it happened.',
      },
    );
  }
  return toCliError(thrown);
}
