import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OstreeError } from '@treeline/ostree/errors.ts';
import { parseDate } from '../date-text.ts';
import { type Parsed, UsageError } from '../options.ts';

export interface Message {
  subject: string;
  body: string;
}

/** Subject and body from the options, or from an editor. */
export async function messageOf(parsed: Parsed): Promise<Message> {
  const subject = parsed.text('subject') ?? '';
  if (parsed.flag('editor')) return edited(parsed.text('branch'), subject, parsed.text('body') ?? '');
  const file = parsed.text('body-file');
  return { subject, body: file === undefined ? (parsed.text('body') ?? '') : await readFile(file, 'utf8') };
}

function edited(branch: string | undefined, subject: string, body: string): Message {
  const lines = [
    '',
    '# Please enter the commit message for your changes. The first line will',
    '# become the subject, and the remainder the body. Lines starting',
    "# with '#' will be ignored, and an empty message aborts the commit.",
    ...(branch === undefined ? [] : ['#', `# Branch: ${branch}`]),
    ...(subject ? [subject] : []),
    ...(body ? [body] : []),
    '',
  ];
  const kept = runEditor(lines.join('\n'))
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => !line.startsWith('#'));
  while (kept[0] === '') kept.shift();
  const first = kept.shift();
  if (first === undefined) throw new OstreeError('invalid', 'Aborting commit due to empty commit subject.');
  return { subject: first, body: kept.join('\n').trim() };
}

/** The editor that git would take. */
function editorOf(): string {
  const { OSTREE_EDITOR, TERM, VISUAL, EDITOR } = process.env;
  const dumb = !TERM || TERM === 'dumb';
  const editor = OSTREE_EDITOR ?? (dumb ? undefined : VISUAL) ?? EDITOR ?? (dumb ? undefined : 'vi');
  if (editor === undefined) throw new UsageError('Terminal is dumb, but EDITOR unset');
  return editor;
}

function runEditor(input: string): string {
  const editor = editorOf();
  const folder = mkdtempSync(join(tmpdir(), 'treeline-message-'));
  const file = join(folder, 'MESSAGE');
  try {
    writeFileSync(file, input);
    // The editor may have arguments of its own, so a shell takes it apart; the file's path is one word.
    const { status, error } = spawnSync('/bin/sh', ['-c', `${editor} "$1"`, 'sh', file], { stdio: 'inherit' });
    if (error || status !== 0) {
      throw new OstreeError('io', `There was a problem with the editor '${editor}'`, { cause: error });
    }
    return readFileSync(file, 'utf8');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Seconds of `--timestamp`, or of SOURCE_DATE_EPOCH; undefined for now. */
export function timestampOf(parsed: Parsed): number | undefined {
  const text = parsed.text('timestamp');
  if (text !== undefined) {
    const seconds = parseDate(text);
    if (seconds === null) throw new UsageError(`Could not parse '${text}'`);
    return seconds;
  }
  const epoch = process.env.SOURCE_DATE_EPOCH;
  if (epoch === undefined) return undefined;
  const digits = /^\s*([-+]?\d+)/.exec(epoch)?.[1];
  if (digits === undefined) throw new UsageError('Failed to convert SOURCE_DATE_EPOCH');
  const seconds = Number(digits);
  if (BigInt(digits) > 0x7fff_ffff_ffff_ffffn) {
    throw new UsageError('Parsing SOURCE_DATE_EPOCH: Numerical result out of range');
  }
  if (!Number.isSafeInteger(seconds) || seconds < 0) throw new UsageError(`SOURCE_DATE_EPOCH: ${epoch} is no time`);
  return seconds;
}
