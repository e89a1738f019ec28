import type { LegReport } from './trial.ts';

/** What a device reported of one release. `at`: ms, by the server's clock. */
export interface ReportedEvent {
  type: string;
  at: number;
  details: string | null;
}

/** How long a device was at each step, and what it fetched; null where it said nothing. */
export type LegTimes = Pick<LegReport, 'check' | 'pull' | 'stage' | 'reboot' | 'verify' | 'objects' | 'bytes'>;

/** Reads the times of a leg that began at `since`; of what was reported twice, the last counts. Any order will do. */
export function legTimes(events: readonly ReportedEvent[], since: number): LegTimes {
  const last = (type: string): ReportedEvent | undefined =>
    events
      .filter((event) => event.type === type)
      .sort((a, b) => a.at - b.at)
      .at(-1);
  const span = (from: number | undefined, to: number | undefined): number | null =>
    from === undefined || to === undefined || to < from ? null : (to - from) / 1000;
  const fetched = last('EcuDownloadCompleted');
  const [started, installing] = [last('EcuDownloadStarted')?.at, last('EcuInstallationStarted')?.at];
  const [applied, completed] = [last('EcuInstallationApplied')?.at, last('EcuInstallationCompleted')?.at];
  const said = /(\d+) objects, (\d+) bytes/.exec(fetched?.details ?? '');
  return {
    check: span(since, started),
    pull: span(started, fetched?.at),
    stage: span(fetched?.at, installing),
    reboot: span(installing, applied),
    verify: span(applied, completed),
    objects: said ? Number(said[1]) : null,
    bytes: said ? Number(said[2]) : null,
  };
}
