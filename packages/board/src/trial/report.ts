import type { LegReport, Verdict } from './trial.ts';

/** The report of a trial as it is stored: `report.json` of the artifact. */
export interface TrialReport {
  version: 1;
  board: string;
  verdict: Verdict;
  candidate: string;
  production: string | null;
  faults: readonly string[];
  legs: readonly LegReport[];
  seconds: number;
}

const COLUMNS = ['leg', 'commit', 'seconds', 'check', 'pull', 'stage', 'reboot', 'verify', 'boots', 'objects', 'bytes'];

/** The legs as a table for people. */
export function legTable(legs: readonly LegReport[]): string {
  const seconds = (value: number | null): string => (value === null ? '-' : value.toFixed(1));
  const rows = legs.map((leg) => [
    ...[leg.name, leg.target.slice(0, 12), seconds(leg.seconds)],
    ...[leg.check, leg.pull, leg.stage, leg.reboot, leg.verify].map(seconds),
    ...[leg.boots, leg.objects ?? leg.sent.requests, leg.bytes ?? leg.sent.bytes].map(String),
  ]);
  const widths = COLUMNS.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]) =>
    cells.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ');
  const faults = legs.flatMap((leg) => leg.faults.map((fault) => `${leg.name}: ${fault}`));
  return [line(COLUMNS), ...rows.map(line), ...faults].map((text) => `${text.trimEnd()}\n`).join('');
}

/** One line about how a trial ended. */
export function verdictText(verdict: Verdict): string {
  if (verdict.kind === 'good') return 'good: every leg ended as it should';
  return `${verdict.kind === 'bad' ? 'bad' : 'trouble with the board'} (${verdict.leg}): ${verdict.why}`;
}
