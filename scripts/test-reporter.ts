import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import type { TestEvent } from 'node:test/reporters';
import { emptyTotals, type Totals } from './test-totals.ts';

// One line per file; what a test printed and why it failed only where it failed. The counts go to a file, because
// scripts/test.ts adds up several runs and prints the closing lines once, last.

type Failed = Extract<TestEvent, { type: 'test:fail' }>['data'];

export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const note = process.env.TREELINE_TEST_TOTALS;
  const expected = Number(process.env.TREELINE_TEST_FILES ?? 0);
  const width = String(expected).length;
  const output = new Map<string, string[]>();
  const failures = new Map<string, Failed[]>();
  const totals: Totals = emptyTotals();
  let finished = 0;

  for await (const event of events) {
    switch (event.type) {
      case 'test:stdout':
      case 'test:stderr': {
        const file = fileOf(event.data);
        output.set(file, [...(output.get(file) ?? []), event.data.message]);
        break;
      }
      case 'test:fail': {
        // A suite fails because a test in it did, which has been told already.
        if (isConsequence(event.data)) break;
        const file = fileOf(event.data);
        if (isFileItself(event.data)) {
          // The file died before it could sum itself up: it could not be loaded, hung, or left with an exit code.
          finished += 1;
          yield line(`${count(finished)} ✖ ${file}`);
          yield failure(event.data, output.get(file));
          totals.failures.push(`${file}: ${reasonOf(event.data)}`);
        } else {
          failures.set(file, [...(failures.get(file) ?? []), event.data]);
        }
        break;
      }
      case 'test:summary': {
        const { counts, duration_ms: duration, file: path } = event.data;
        if (path === undefined) {
          // A file which was ended after a failure of its tests (see test-ending.ts) sums nothing up.
          for (const [file, failed] of failures) {
            finished += 1;
            yield line(`${count(finished)} ✖ ${file} (ended before it had summed itself up)`);
            for (const one of failed) {
              yield failure(one);
              totals.failures.push(`${file}:${one.line ?? '?'} ${one.name}`);
            }
            yield block('printed by this file', (output.get(file) ?? []).join(''));
          }
          for (const key of ['tests', 'suites', 'passed', 'failed', 'cancelled', 'skipped', 'todo'] as const) {
            // Not all of these are in the declared type, though all are in the event.
            totals[key] = (counts as Record<string, number>)[key] ?? 0;
          }
          break;
        }
        finished += 1;
        const file = relative(process.cwd(), path);
        const failed = failures.get(file) ?? [];
        const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : '';
        const bad = failed.length > 0 ? `, ${failed.length} failed` : '';
        const seconds = (duration / 1000).toFixed(1);
        yield line(
          `${count(finished)} ${bad ? '✖' : '✔'} ${file} (${counts.tests} tests${bad}${skipped}, ${seconds} s)`,
        );
        for (const one of failed) {
          yield failure(one);
          totals.failures.push(`${file}:${one.line ?? '?'} ${one.name}`);
        }
        if (bad && output.has(file)) yield block('printed by this file', (output.get(file) ?? []).join(''));
        output.delete(file);
        failures.delete(file);
        break;
      }
      default:
    }
  }
  if (note) writeFileSync(note, JSON.stringify(totals));

  function count(n: number): string {
    return expected > 0 ? `[${String(n).padStart(width)}/${expected}]` : '';
  }
}

function fileOf(data: { file?: string; entryFile?: string }): string {
  return relative(process.cwd(), data.entryFile ?? data.file ?? '');
}

function isConsequence(data: Failed): boolean {
  return (data.details.error as { failureType?: string }).failureType === 'subtestsFailed';
}

function isFileItself(data: Failed): boolean {
  return data.nesting === 0 && data.file !== undefined && data.file.endsWith(data.name);
}

function reasonOf(data: Failed): string {
  const error = data.details.error as Error & { failureType?: string; exitCode?: number; signal?: string | null };
  if (error.failureType === 'testTimeoutFailure') return 'ran out of time';
  if (error.signal) return `ended by ${error.signal}`;
  return `left with exit code ${error.exitCode ?? '?'}`;
}

function failure(data: Failed, printed?: string[]): string {
  const error = data.details.error;
  const text = isFileItself(data) ? reasonOf(data) : describe(error.cause ?? error);
  const where = data.line === undefined ? '' : ` (line ${data.line})`;
  const title = isFileItself(data) ? 'the file as a whole failed' : `${data.name}${where}`;
  return block(`✖ ${title}`, text) + (printed ? block('printed by this file', printed.join('')) : '');
}

/** The stack without node's own frames, then the hint and the causes that this project's errors carry. */
function describe(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const stack = (thrown.stack ?? String(thrown)).split('\n').filter((frame) => !/^\s+at .*node:internal\//.test(frame));
  const { hint, code } = thrown as { hint?: unknown; code?: unknown };
  if (typeof code === 'string' && !stack[0]?.includes(code)) stack.push(`code: ${code}`);
  if (typeof hint === 'string') stack.push(`hint: ${hint}`);
  if (thrown.cause !== undefined) stack.push(`caused by: ${describe(thrown.cause)}`);
  return stack.join('\n');
}

function block(title: string, text: string): string {
  const body = text.trimEnd().split('\n');
  return `${line(`    ${title}`)}${body.map((one) => line(`      ${one}`)).join('')}`;
}

function line(text: string): string {
  return `${text}\n`;
}
