import { appendFile, readFile } from 'node:fs/promises';
import type { AgentProgress } from '../cycle/cycle.ts';
import type { State } from '../machine/index.ts';
import { inOneLine, shortCommit } from '../words/amounts.ts';

/** The machine's console, for whoever watches a serial line: one line for each state, in a form that programs read, too. */
export interface MachineConsole {
  tell(progress: AgentProgress): void;
  /** Whether the lines also go there; before it is known, the last ones are kept. */
  use(on: boolean): void;
}

const CONSOLE = '/dev/console';
const KEPT = 20;

export function createConsole(path = CONSOLE): MachineConsole {
  let on: boolean | null = null;
  let kept: Promise<string>[] = [];
  let writing: Promise<void> = Promise.resolve();
  const write = (line: Promise<string>) => {
    // One after the other; a console that is not there is no reason to stop.
    writing = writing.then(async () => appendFile(path, `treeline-agent: ${await line}\r\n`)).catch(() => {});
  };
  return {
    tell(progress) {
      const line = lineOf(progress);
      if (line === null || on === false) return;
      if (on === true) return write(line);
      kept = [...kept, line].slice(-KEPT);
    },
    use(now) {
      on = now;
      if (on) for (const line of kept) write(line);
      kept = [];
    },
  };
}

function lineOf(progress: AgentProgress): Promise<string> | null {
  if (progress.kind === 'up') return upLine(progress.booted);
  if (progress.kind !== 'state' || progress.state.kind === 'checking') return null;
  const { state } = progress;
  const release = releaseOf(state);
  const why = 'why' in state ? state.why : 'waits' in state ? (state.waits ?? '') : '';
  const line = `state ${state.kind} ${release === null ? '-' : shortCommit(release)} ${inOneLine(why)}`;
  return Promise.resolve(line.trimEnd());
}

async function upLine(booted: string | null): Promise<string> {
  const uptime = await readFile('/proc/uptime', 'utf8').catch(() => '0');
  return `up ${Math.round(Number(uptime.split(' ')[0]))} booted ${booted === null ? '-' : shortCommit(booted)}`;
}

function releaseOf(state: State): string | null {
  if (state.kind === 'rolled-back') return state.from;
  if (state.kind === 'rebooting') return state.to;
  return 'release' in state ? state.release : null;
}
