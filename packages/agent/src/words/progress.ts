import type { AgentProgress } from '../cycle/cycle.ts';
import type { State } from '../machine/index.ts';
import type { Planned, Transfer } from '../state/schema.ts';
import { bytesInWords, counted, inOneLine, shortCommit, timeInWords } from './amounts.ts';

/** Something that is worth a line: what kind of thing, how good it is, and what there is to say. */
export interface Said {
  label: string;
  /** A state's name, or how a line that is about no state is meant. */
  tone: State['kind'] | 'busy' | 'good' | 'warn' | 'bad';
  text: string;
  /** Output of a program, as it came. */
  output: string;
}

/** One thing that the agent did; null for what is not worth a line. */
export function progressInWords(progress: AgentProgress): Said | null {
  switch (progress.kind) {
    case 'state': {
      const { state } = progress;
      // Each look at the server begins with this; only what it leads to is news.
      if (state.kind === 'checking') return null;
      return { label: state.kind, tone: state.kind, text: stateInWords(state), output: '' };
    }
    case 'up': {
      const text = progress.booted === null ? 'nothing runs yet' : `runs ${shortCommit(progress.booted)}`;
      return { label: 'up', tone: 'good', text, output: '' };
    }
    case 'plan':
      return { label: 'to fetch', tone: 'busy', text: planInWords(progress.planned), output: '' };
    case 'transfer':
      return { label: 'fetched', tone: 'busy', text: transferInWords(progress.transfer), output: '' };
    case 'check': {
      const { kind, path, passed, timedOut, exitCode, milliseconds, output } = progress.result;
      const verdict = passed ? 'passed' : timedOut ? 'took too long' : `failed with exit code ${exitCode ?? 'none'}`;
      return {
        label: 'check',
        tone: passed ? 'good' : kind === 'required' ? 'bad' : 'warn',
        text: `${inOneLine(path)} ${verdict} (${timeInWords(milliseconds)})`,
        output: passed ? '' : output.trimEnd(),
      };
    }
    case 'warning':
      return { label: 'warning', tone: 'warn', text: inOneLine(progress.message), output: '' };
    case 'download':
      return null;
  }
}

/** What there is to say about a state beside its name. */
export function stateInWords(state: State): string {
  switch (state.kind) {
    case 'idle':
    case 'checking':
      return '';
    case 'good':
    case 'downloading':
    case 'verifying':
      return shortCommit(state.release);
    case 'staged':
      return `${shortCommit(state.release)}${state.waits === undefined ? '' : `  ${inOneLine(state.waits)}`}`;
    case 'rebooting':
      if (state.waits !== undefined) return `into ${shortCommit(state.to)}: ${inOneLine(state.waits)}`;
      return state.undo === null
        ? `into ${shortCommit(state.to)}`
        : `back to ${shortCommit(state.to)}: ${inOneLine(state.undo.why)}`;
    case 'blocked':
    case 'failed':
      return `${shortCommit(state.release)}  ${inOneLine(state.why)}`;
    case 'rolled-back':
      return `from ${shortCommit(state.from)}: ${inOneLine(state.why)}`;
  }
}

/** What a release will take on the wire. */
export function planInWords({ objects, bytes, delta }: Planned): string {
  if (bytes === 0) return 'nothing: all of it is here';
  return `${bytesInWords(bytes)} in ${delta ? 'a static delta' : counted(objects, 'object')}`;
}

/** What an update cost on the wire, against the whole. */
export function transferInWords(transfer: Transfer): string {
  const { objects, bytes, totalObjects, totalBytes, milliseconds } = transfer;
  // The whole is counted without what describes it (commit, folders), so of tiny trees more is fetched than that.
  const time = timeInWords(milliseconds);
  if (totalBytes === null || totalObjects === null || bytes >= totalBytes || objects > totalObjects) {
    return `${counted(objects, 'object')}, ${bytesInWords(bytes)} in ${time}`;
  }
  const share = `${bytesInWords(totalBytes)} (${((bytes / totalBytes) * 100).toFixed(1)} %)`;
  return `${objects} of ${counted(totalObjects, 'object')}, ${bytesInWords(bytes)} of ${share} in ${time}`;
}
