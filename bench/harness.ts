import { mkdir, rm } from 'node:fs/promises';
import { runCommand, runMeasured } from './process.ts';
import { median } from './statistics.ts';
import type { Bench, Contender, Measure, Measured, Row, Sample, Suite } from './suite.ts';

export type HarnessOptions = {
  scratch: string;
  machine: string;
  runs: number;
  /** Only measures whose name contains one of these; all if empty. */
  only: readonly string[];
  keepScratch: boolean;
  /** Tiny inputs, to see whether a suite works. */
  small?: boolean;
  say: (text: string) => void;
  signal?: AbortSignal;
};

export type Report = { rows: Row[]; remarks: string[]; failed: boolean };

/** Runs a suite. A measure that fails becomes a row with a note; only an interruption throws. */
export async function runSuite(suite: Suite, options: HarnessOptions): Promise<Report> {
  const report: Report = { rows: [], remarks: [], failed: false };
  const endings: Array<() => Promise<void>> = [];
  const { signal, say } = options;
  await mkdir(options.scratch, { recursive: true });

  const bench: Bench = {
    scratch: options.scratch,
    runs: options.runs,
    small: options.small ?? false,
    wants: (...names) => names.some(isWanted),
    measure,
    say,
    run: (contender) => runMeasured(contender, signal),
    prepare: (...command) => runCommand(command, {}, signal),
    remark: (text) => void report.remarks.push(text),
    atEnd: (action) => void endings.push(action),
    add(row) {
      if (!isWanted(row.measure)) return;
      report.rows.push(finish(row));
    },
  };

  function isWanted(name: string): boolean {
    return options.only.length === 0 || options.only.some((part) => name.includes(part));
  }

  function finish(row: Omit<Row, 'machine' | 'ratio'>): Row {
    const { measure: name, unit, ours, theirs, peer, ...rest } = row;
    const ratio = ours === null || theirs === null ? null : theirs / ours;
    return { measure: name, unit, ours, theirs, peer, ratio, ...rest, machine: options.machine };
  }

  async function measure(given: Measure): Promise<Measured | null> {
    if (!isWanted(given.name)) return null;
    const runs = given.runs ?? options.runs;
    const measured: Measured = { ours: [], theirs: [] };
    const notes: string[] = [];
    for (let pair = 0; pair < runs; pair += 1) {
      const ours = await side('ours', given, measured.ours, notes);
      const theirs = await side('theirs', given, measured.theirs, notes);
      if (ours && theirs) {
        say(
          `${given.name} ${pair + 1}/${runs}: ${ours.seconds.toFixed(2)} s, ${given.peer} ${theirs.seconds.toFixed(2)} s`,
        );
        try {
          await given.check?.(ours, theirs);
        } catch (error) {
          notes.push(`the two sides did not do the same: ${messageOf(error)}`);
        }
      }
      if (notes.length > 0) break;
    }
    if (notes.length > 0) report.failed = true;
    const note = notes.length > 0 ? `FAILED: ${notes.join('; ')}` : undefined;
    const row = rowOf(given, measured, 's', (sample) => sample.seconds, { goal: given.goal ?? null, note });
    if (row.ratio !== null) {
      const cpu = (samples: Sample[]) => median(samples.map((sample) => sample.cpuSeconds));
      row.cpuSeconds = { ours: cpu(measured.ours), theirs: cpu(measured.theirs) };
    }
    report.rows.push(row);
    if (given.memory && notes.length === 0) {
      const mebibytes = (sample: Sample) => sample.peakBytes / 2 ** 20;
      report.rows.push(rowOf(given, measured, 'MiB peak', mebibytes, { goal: null, note }));
    }
    return notes.length > 0 ? null : measured;
  }

  async function side(which: 'ours' | 'theirs', given: Measure, samples: Sample[], notes: string[]) {
    const contender: Contender = given[which];
    try {
      await contender.before?.();
      // What was written before must not reach the disk in this run's time.
      await runCommand(['sync'], {}, signal);
      const sample = await runMeasured(contender, signal);
      samples.push(sample);
      return sample;
    } catch (error) {
      signal?.throwIfAborted();
      notes.push(messageOf(error));
      return null;
    }
  }

  function rowOf(
    given: Measure,
    { ours, theirs }: Measured,
    unit: string,
    value: (sample: Sample) => number,
    { goal, note }: { goal: number | null; note?: string },
  ): Row {
    const samples = { ours: ours.map(value), theirs: theirs.map(value) };
    return finish({
      measure: given.name,
      unit,
      ours: samples.ours.length > 0 ? median(samples.ours) : null,
      theirs: samples.theirs.length > 0 ? median(samples.theirs) : null,
      peer: given.peer,
      goal,
      runs: Math.min(ours.length, theirs.length),
      samples,
      ...(note === undefined ? {} : { note }),
    });
  }

  try {
    await suite.run(bench);
  } catch (error) {
    signal?.throwIfAborted();
    report.failed = true;
    report.remarks.push(`The suite ended early: ${messageOf(error)}`);
  } finally {
    for (const end of endings.reverse()) await end();
    if (!options.keepScratch) await rm(options.scratch, { recursive: true, force: true });
  }
  return report;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
