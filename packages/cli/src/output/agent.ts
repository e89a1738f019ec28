import type { AgentProgress, AgentStatus, State, Transfer } from '@treeline/agent';
import { formatBytes } from './bytes.ts';
import { paint } from './colour.ts';
import { deviceStyle } from './device.ts';
import { clockTime, formatAge, formatDuration } from './duration.ts';
import { fields } from './fields.ts';
import { manyLines, oneLine } from './text.ts';
import { count, shortId } from './words.ts';

/** One thing that the agent did, as a line; null for what is not worth one. */
export function progressLine(progress: AgentProgress, now: number): string | null {
  const line = describe(progress);
  return line && `${paint('dim', clockTime(now))}  ${line}`;
}

function describe(progress: AgentProgress): string | null {
  switch (progress.kind) {
    case 'state': {
      const { state } = progress;
      // Each look at the server begins with this; only what it leads to is news.
      if (state.kind === 'checking') return null;
      return `${paint(deviceStyle(state.kind), state.kind.padEnd(11))}  ${stateDetails(state)}`.trimEnd();
    }
    case 'transfer':
      return `${paint('blue', 'fetched'.padEnd(11))}  ${formatTransfer(progress.transfer)}`;
    case 'check': {
      const { kind, path, passed, timedOut, exitCode, milliseconds, output } = progress.result;
      const verdict = passed ? 'passed' : timedOut ? 'took too long' : `failed with exit code ${exitCode ?? 'none'}`;
      const mark = paint(passed ? 'green' : kind === 'required' ? 'red' : 'yellow', 'check'.padEnd(11));
      const tail =
        passed || output.trim() === ''
          ? ''
          : `\n${manyLines(output.trimEnd()).replace(/^/gm, '                         │ ')}`;
      return `${mark}  ${oneLine(path)} ${verdict} (${formatDuration(milliseconds)})${tail}`;
    }
    case 'warning':
      return `${paint('yellow', 'warning'.padEnd(11))}  ${oneLine(progress.message)}`;
    case 'download':
      return null;
  }
}

function stateDetails(state: State): string {
  switch (state.kind) {
    case 'idle':
    case 'checking':
      return '';
    case 'good':
    case 'downloading':
    case 'staged':
    case 'verifying':
      return shortId(state.release);
    case 'rebooting':
      return state.undo ? `back to ${shortId(state.to)}: ${oneLine(state.undo.why)}` : `into ${shortId(state.to)}`;
    case 'blocked':
    case 'failed':
      return `${shortId(state.release)}  ${oneLine(state.why)}`;
    case 'rolled-back':
      return `from ${shortId(state.from)}: ${oneLine(state.why)}`;
  }
}

/** What an update cost on the wire, against the whole. */
function formatTransfer(transfer: Transfer): string {
  const { objects, bytes, totalObjects, totalBytes, milliseconds } = transfer;
  // The whole is counted without what describes it (commit, folders), so of tiny trees more is fetched than that.
  const isPart = totalBytes !== null && bytes < totalBytes && objects <= totalObjects;
  const share = isPart ? ` of ${formatBytes(totalBytes)} (${((bytes / totalBytes) * 100).toFixed(1)} %)` : '';
  return `${isPart ? `${objects} of ${count(totalObjects, 'object')}` : count(objects, 'object')}, ${formatBytes(bytes)}${share} in ${formatDuration(milliseconds)}`;
}

/** What a board knows of itself. */
export function formatAgentStatus(status: AgentStatus, now: number): string {
  const { identity, state, running, transfer } = status;
  const pairs: Array<[string, string]> = [
    ['device', paint('bold', oneLine(identity.id))],
    ['state', `${paint(deviceStyle(state.kind), state.kind)}  ${stateDetails(state)}`.trimEnd()],
    ['runs', running ? shortId(running.commit) : 'nothing'],
    ['can boot', status.deployments.map((deployment) => shortId(deployment.commit)).join(', ') || 'nothing'],
    ['follows', oneLine(`${identity.repository}:${identity.channel} at ${identity.gateway}`)],
    ['last look', status.checkedAt === null ? 'never' : formatAge(status.checkedAt, now)],
  ];
  const { pointed } = status;
  if (running && pointed?.release === running.commit) pairs.push(['fetched from', oneLine(pointed.url)]);
  if (status.lastError) pairs.push(['problem', paint('yellow', oneLine(status.lastError))]);
  if (transfer) pairs.push(['last update', formatTransfer(transfer)]);
  for (const bad of status.bad) pairs.push(['never again', `${shortId(bad.release)}  ${oneLine(bad.why)}`]);
  if (status.unsent > 0) pairs.push(['unsent', count(status.unsent, 'report')]);
  return fields(pairs);
}
