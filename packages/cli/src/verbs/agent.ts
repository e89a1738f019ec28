import { hostname } from 'node:os';
import { resolve } from 'node:path';
import type { AgentProgress } from '@treeline/agent';
import type { Command } from 'commander';
import { seconds } from '../arguments.ts';
import { shortPath } from '../connection/folder.ts';
import type { GlobalOptions } from '../connection/server.ts';
import { CliError } from '../errors.ts';
import { formatAgentStatus, formatLook, progressLine } from '../output/agent.ts';
import { formatBytes } from '../output/bytes.ts';
import { paint } from '../output/colour.ts';
import { printDocument, printJsonLine, printText } from '../output/document.ts';
import { liveLines } from '../output/progress.ts';
import { oneLine } from '../output/text.ts';
import { count, shortId } from '../output/words.ts';
import { optionsOf, type Session } from '../session.ts';

type BoardOptions = { board?: string };
type EnrolOptions = BoardOptions & {
  gateway: string;
  id?: string;
  channel?: string;
  hardwareId?: string;
  sysroot?: string;
  os?: string;
};
type HandOptions = BoardOptions & { why?: string };
type RunOptions = BoardOptions & { once?: boolean; poll?: number; healthTimeout?: number };

const boardOption = ['--board <dir>', "the board's folder: its identity and state; or TREELINE_BOARD"] as const;

export function declare(command: Command, session: Session): void {
  command.description(
    'The update agent. It runs on a device; or on a folder that plays one, a virtual board, on any machine.',
  );

  command
    .command('enrol')
    .summary('make this board a device of a server')
    .description(
      'Make a board a device of a server: a key is made here, and the token (treeline devices enrol-token) turns it ' +
        'into a certificate. The token also names the certificate authority, so no stranger is spoken to.',
    )
    .option(...boardOption)
    .requiredOption('--gateway <url>', 'https address of the device gateway')
    .option('--token <token>', 'the enrolment token; or TREELINE_ENROLMENT_TOKEN')
    .option('--id <id>', "name of the device (default: this machine's name)")
    .option('--channel <channel>', 'channel to follow, where the token does not say')
    .option('--hardware-id <id>', 'kind of hardware, for people and rollouts')
    .option('--sysroot <path>', 'update a libostree sysroot (/ on a real board) instead of a virtual board')
    .option('--os <name>', 'name of the stateroot in --sysroot', 'treeline')
    .action((_: object, self: Command) => enrol(self, session));

  command
    .command('run')
    .summary('look for updates, install them, check health, go back if need be')
    .description(
      'Run the agent: look for an update, fetch what is missing, deploy it beside what runs, boot it, check its ' +
        'health, and stay or go back. Stopped at any moment it goes on where it was.',
    )
    .option(...boardOption)
    .option('--once', 'one look and what follows from it; exit code 1 if an update failed')
    .option('--poll <seconds>', 'time between looks (default: 60)', seconds)
    .option('--health-timeout <seconds>', 'limit of each health check (default: 60)', seconds)
    .addHelpText('after', '\nWith --json: one line for each thing that happens.')
    .action((_: object, self: Command) => run(self, session));

  command
    .command('status')
    .summary('what a board knows of itself')
    .description(
      'What a board knows of itself, read from its folder: no network, and a running agent is not disturbed.',
    )
    .option(...boardOption)
    .action(async (_: object, self: Command) => {
      const options = optionsOf<BoardOptions>(self);
      const { agentStatus } = await import('@treeline/agent');
      const status = await agentStatus(boardOf(options));
      if (options.json) return printDocument(status);
      printText(formatAgentStatus(status, Date.now()));
    });

  command
    .command('check')
    .summary('ask the server now: what it offers, how much that is, whether it may be taken')
    .description(
      'Ask the server what this board should run, how much it would have to fetch for it, and whether windows, locks and ' +
        'hooks let it. Nothing is done about it here; an agent that runs on the board is told to look at once.',
    )
    .option(...boardOption)
    .action(async (_: object, self: Command) => {
      const options = optionsOf<BoardOptions>(self);
      const { lookNow } = await import('@treeline/agent');
      const look = await lookNow(boardOf(options), session.signal);
      if (options.json) return printDocument(look);
      printText(formatLook(look));
    });

  command
    .command('rollback')
    .summary('leave what runs for the deployment before')
    .description(
      'Leave what runs for the deployment before it. As after a failed check, what is left is not taken again until the ' +
        'server forgives it (treeline devices set ID --forgive COMMIT).',
    )
    .option(...boardOption)
    .option('--why <text>', 'what people are told', 'a person went back')
    .action(async (_: object, self: Command) => {
      const options = optionsOf<HandOptions>(self);
      const { goBack } = await import('@treeline/agent');
      const gone = await goBack({ board: boardOf(options), signal: session.signal, why: options.why ?? '' });
      if (options.json) return printDocument(gone);
      const { from, to, byAgent } = gone;
      printText(`${byAgent ? 'the running agent goes' : 'gone'} back from ${shortId(from)} to ${shortId(to)}`);
    });

  command
    .command('pin')
    .summary('keep what runs: no updates until unpin')
    .description(
      'Keep what the board runs, whatever the server offers; the server is told why. `treeline agent unpin` ends it.',
    )
    .option(...boardOption)
    .option('--why <text>', 'what people are told', 'by a person')
    .action((_: object, self: Command) => keep(optionsOf<HandOptions & GlobalOptions>(self), session));

  command
    .command('unpin')
    .summary('let updates go on')
    .description('Let a board that was pinned take updates again.')
    .option(...boardOption)
    .action((_: object, self: Command) =>
      keep({ ...optionsOf<BoardOptions & GlobalOptions>(self), why: null }, session),
    );
}

function boardOf(options: BoardOptions): string {
  const board = options.board ?? process.env.TREELINE_BOARD;
  if (board) return resolve(board);
  throw new CliError('usage', 'Which board? --board is missing, and TREELINE_BOARD is not set.', {
    hint: 'Name the folder that holds (or will hold) the identity of the board: --board DIR',
  });
}

async function keep(
  { why = '', json, ...options }: BoardOptions & { why?: string | null; json?: boolean },
  session: Session,
): Promise<void> {
  const board = boardOf(options);
  const { pin } = await import('@treeline/agent');
  await pin({ board, signal: session.signal, why });
  if (json) return printDocument({ pinned: why });
  printText(why === null ? 'updates go on' : `pinned: ${oneLine(why)}`);
  if (why !== null) printText(paint('dim', `treeline agent unpin --board ${shortPath(board)}`));
}

async function enrol(self: Command, session: Session): Promise<void> {
  const options = optionsOf<EnrolOptions>(self);
  // --token is also an option of the whole program, which takes it wherever it stands; TREELINE_TOKEN is no enrolment token.
  const token = options.token ?? process.env.TREELINE_ENROLMENT_TOKEN;
  if (!token) {
    throw new CliError('usage', 'The enrolment token is missing: --token, or TREELINE_ENROLMENT_TOKEN.', {
      hint: 'On the server: treeline devices enrol-token --channel robot/edge',
    });
  }
  const board = boardOf(options);
  const { enrol: enrolBoard } = await import('@treeline/agent');
  const identity = await enrolBoard({
    board,
    gateway: options.gateway,
    token,
    id: options.id ?? hostname(),
    signal: session.signal,
    ...(options.channel ? { channel: options.channel } : {}),
    ...(options.hardwareId ? { hardwareId: options.hardwareId } : {}),
    ...(options.sysroot
      ? { deployer: { kind: 'ostree-sysroot', sysroot: resolve(options.sysroot), os: options.os ?? 'treeline' } }
      : {}),
  });
  if (options.json) return printDocument(identity);
  const { id, repository, channel } = identity;
  printText(`${paint('bold', id)} is enrolled and follows ${repository}:${channel}`);
  printText(paint('dim', `treeline agent run --board ${shortPath(board)}`));
}

async function run(self: Command, session: Session): Promise<void> {
  const options = optionsOf<RunOptions>(self);
  const board = boardOf(options);
  const { runAgent, runOnce } = await import('@treeline/agent');
  const screen = liveLines();
  const tried = { failed: null as string | null };
  const onProgress = (progress: AgentProgress) => {
    note(tried, progress);
    if (options.json) printJsonLine({ at: new Date().toISOString(), ...progress });
    else tell(screen, progress);
  };
  const common = {
    board,
    signal: session.signal,
    onProgress,
    ...(options.healthTimeout ? { healthTimeoutMs: options.healthTimeout * 1000 } : {}),
  };
  session.interruptedHint = 'The board is whole; the next run goes on where this one was.';
  try {
    if (!options.once) {
      await runAgent({ ...common, ...(options.poll ? { pollSeconds: options.poll } : {}) });
      return;
    }
    const result = await runOnce(common);
    if (options.json) printJsonLine({ at: new Date().toISOString(), kind: 'end', ...result });
    else printText(`runs ${result.booted ? shortId(result.booted) : 'nothing yet'}`);
    if (result.unsent > 0 && !options.json)
      printText(paint('dim', `${count(result.unsent, 'report')} wait for the server`));
    if (result.serverError) {
      throw new CliError('unreachable', `The server could not be asked: ${result.serverError}`, {
        hint: 'The board runs what it ran; the next look tries again.',
      });
    }
    if (tried.failed)
      throw new CliError('failed', `The update failed: ${tried.failed}`, {
        hint: `treeline agent status --board ${shortPath(board)}`,
      });
  } finally {
    screen.close();
  }
}

/** Remembers that an update of this call failed. A board that only rests in such a state has tried nothing. */
function note(tried: { failed: string | null; underWay?: boolean }, progress: AgentProgress): void {
  if (progress.kind !== 'state') return;
  const { state } = progress;
  if (state.kind === 'downloading' || state.kind === 'rebooting' || state.kind === 'verifying') tried.underWay = true;
  if (tried.underWay && (state.kind === 'failed' || state.kind === 'rolled-back')) tried.failed = state.why;
}

function tell(screen: ReturnType<typeof liveLines>, progress: AgentProgress): void {
  if (progress.kind === 'download') {
    const { objects, bytes } = progress.progress;
    screen.show([paint('blue', `${screen.tick()} ${count(objects, 'object')}, ${formatBytes(bytes)}`)]);
    return;
  }
  const line = progressLine(progress, Date.now());
  if (line) screen.print(line);
}
