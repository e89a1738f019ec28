import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Board,
  BoardError,
  type BoardFile,
  type DeviceView,
  FORWARD_ADDRESS,
  legTable,
  makeRawImage,
  openBoard,
  parseBoardFile,
  type QemuNetwork,
  runTrial,
  serveConsole,
  type TrialReport,
  verdictText,
} from '@treeline/board';
import { RunnerError } from '../errors.ts';
import type { JobOptions } from '../job/job.ts';
import type { JobStore } from '../job/store.ts';
import type { Answer } from '../lease/client.ts';
import type { BoardRequest, BoardView, BoardWork, JobResult, JobSpec, Tree, Usage } from '../protocol.ts';
import { removeTree } from '../trees/remove.ts';
import type { Boards } from './boards.ts';

export interface BoardMachine {
  /** Null: this runner has no boards. */
  boards: Boards | null;
  /** Folder of the store. */
  storeDir: string;
  store: JobStore;
  jobsDir: string;
}

export type BoardJobOptions = JobOptions & {
  /** Looks at the job's device on the server, and points it. */
  device: (request: Omit<BoardRequest, 'token'>, signal: AbortSignal) => Promise<Answer<BoardView>>;
};

/** Errors of the board, of this machine, or of the release that the candidate is tried over: not the candidate's. */
const TROUBLE: ReadonlySet<string> = new Set(['board-trouble', 'tool-missing', 'tool-failed', 'exists', 'not-seen']);

/** The server may be restarted in the middle of a trial. */
const SERVER_AWAY_MS = 120_000;

/**
 * Tries a system on a board, in this process: a board is hardware, and is not reached from a sandbox. Never rejects;
 * what is not the candidate's doing is an infrastructure failure. The board is off afterwards.
 */
export async function runBoardJob(
  spec: JobSpec & { board: BoardWork },
  machine: BoardMachine,
  o: BoardJobOptions,
): Promise<JobResult> {
  const begin = performance.now();
  const late = AbortSignal.timeout(spec.timeoutSeconds * 1000);
  const signal = AbortSignal.any([o.signal, late]);
  let dir: string | null = null;
  let board: Board | null = null;
  let stopServing: (() => Promise<void>) | null = null;
  const usage = (): Usage => {
    const seconds = (performance.now() - begin) / 1000;
    return { prepareSeconds: 0, runSeconds: seconds, storeSeconds: 0, diskBytes: 0 };
  };
  try {
    dir = await mkdtemp(join(machine.jobsDir, 'board-'));
    const file = await boardFileOf(spec, machine, { dir, signal });
    const log = join(dir, 'console.log');
    board = await openBoard({
      ...{ name: file.name, drive: file.drive!, folder: join(dir, 'board'), log },
      ...(file.drive!.kind === 'qemu' ? { network: forwardTo(spec.board.device.gateway) } : {}),
    });
    board.console.listen((chunk) => void o.onOutput(chunk));
    o.note(`board ${file.name}; its console: treeline console ${spec.board.device.id}`);
    stopServing = await serveConsole(board.console, { name: spec.board.device.id }).catch((error: unknown) => {
      o.note(`its console cannot be attached to: ${String(error)}`);
      return null;
    });
    const report = await tryOn(board, file, { spec, machine, dir, signal, o });
    for (const line of legTable(report.legs).trimEnd().split('\n')) o.note(line);
    if (report.verdict.kind === 'trouble') return { status: 'infrastructure', message: verdictText(report.verdict) };
    if (report.verdict.kind === 'bad') {
      return { status: 'failed', reason: 'board', message: verdictText(report.verdict), usage: usage() };
    }
    // Of a result that is not good, the message ends the log.
    o.note(verdictText(report.verdict));
    await board.close();
    board = null;
    const outputs = await storeReport(report, { spec, machine, dir, log });
    return { status: 'passed', outputs, usage: usage() };
  } catch (error) {
    if (late.aborted && !o.signal.aborted) {
      const message = `the board job ran longer than its limit of ${spec.timeoutSeconds} s; "timeout:" raises it`;
      return { status: 'failed', reason: 'timeout', message, usage: usage() };
    }
    const message = describe(error);
    if (error instanceof BoardError && !TROUBLE.has(error.code)) {
      return { status: 'failed', reason: 'board', message, usage: usage() };
    }
    return { status: 'infrastructure', message };
  } finally {
    await stopServing?.();
    await board?.close().catch(() => {});
    if (dir !== null) await removeTree(dir).catch(() => {});
  }
}

/** The runner's own board, or a board file of the repository, which only QEMU may play. */
async function boardFileOf(
  spec: JobSpec & { board: BoardWork },
  machine: BoardMachine,
  o: { dir: string; signal: AbortSignal },
): Promise<BoardFile> {
  const wanted = spec.board.board;
  if ('name' in wanted) {
    const file = machine.boards?.get(wanted.name);
    if (file) return file;
    throw new RunnerError('bad-settings', `this runner has no board ${wanted.name}`);
  }
  const src = join(o.dir, 'src');
  if (spec.source) await machine.store.checkout(spec.source, src, { signal: o.signal });
  const text = await readFile(join(src, wanted.file), 'utf8').catch((cause: unknown) => {
    throw new BoardError('not-found', `the repository has no board file ${wanted.file}`, { cause });
  });
  const file = parseBoardFile(text, wanted.file);
  if (file.drive?.kind === 'qemu') return file;
  throw new BoardError('not-possible', `${wanted.file} is no board that QEMU plays`, {
    hint: 'A board that commands switch is given to a runner by its operator (TREELINE_BOARDS), and asked for by name.',
  });
}

/** A board in QEMU reaches the gateway, and nothing else of this machine or the network. */
function forwardTo(gateway: string): QemuNetwork {
  const { hostname, port } = new URL(gateway);
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 443) };
}

/** The gateway's address as the board reaches it: `localhost` is somewhere else there. */
function gatewayFor(board: Board, file: BoardFile, gateway: string): string {
  const url = new URL(gateway);
  if (file.drive?.kind === 'qemu') url.hostname = FORWARD_ADDRESS;
  else if (board.host !== null && /^(localhost|127\.|\[::1\])/.test(url.hostname)) url.hostname = board.host;
  return url.origin;
}

type Trying = {
  spec: JobSpec & { board: BoardWork };
  machine: BoardMachine;
  dir: string;
  signal: AbortSignal;
  o: BoardJobOptions;
};

async function tryOn(board: Board, file: BoardFile, { spec, machine, dir, signal, o }: Trying): Promise<TrialReport> {
  const { system, over, faults, device } = spec.board;
  const enrolment = JSON.stringify({
    gateway: gatewayFor(board, file, device.gateway),
    token: device.token,
    id: device.id,
    channel: device.channel,
    hardwareId: file.name,
    os: 'treeline',
  });
  return await runTrial(
    { candidate: system, production: over, faults },
    {
      board,
      note: o.note,
      signal,
      look: (target, signal) => lookAt(o, target, signal),
      makeImage: async (commit, signal) => {
        const image = join(dir, 'system.img');
        try {
          await makeRawImage(image, { repo: machine.storeDir, commit, board: file, enrolment, signal });
        } catch (cause) {
          if (commit === system || signal.aborted) throw cause;
          throw new BoardError('board-trouble', `no image of the release ${commit}: ${describe(cause)}`, { cause });
        }
        return image;
      },
    },
  );
}

/** The server's word; a server that is away for a moment is waited for. */
async function lookAt(o: BoardJobOptions, target: string | undefined, signal: AbortSignal): Promise<DeviceView> {
  const until = Date.now() + SERVER_AWAY_MS;
  for (;;) {
    signal.throwIfAborted();
    const answer = await o.device(target === undefined ? {} : { target }, signal);
    if (answer.kind === 'ok') return answer.body;
    const why = 'message' in answer ? answer.message : 'the lease is lost';
    if (answer.kind !== 'unavailable' || Date.now() > until) {
      throw new RunnerError('stopped', `the server does not say how the device is: ${why}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

async function storeReport(
  report: TrialReport,
  { spec, machine, dir, log }: { spec: JobSpec; machine: BoardMachine; dir: string; log: string },
): Promise<Record<string, Tree>> {
  const folder = join(dir, 'report');
  await mkdir(folder);
  await writeFile(join(folder, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
  await writeFile(join(folder, 'legs.txt'), `${legTable(report.legs)}${verdictText(report.verdict)}\n`);
  await writeFile(join(folder, 'console.log'), await readFile(log).catch(() => ''));
  return await machine.store.write(new Map(spec.outputs.map(({ name }) => [name, folder])));
}

/** With causes: the first message is often only "could not". */
function describe(error: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (!parts.includes(at.message)) parts.push(at.message);
    if (at instanceof BoardError && at.hint) parts.push(at.hint);
  }
  return parts.join(': ') || String(error);
}
