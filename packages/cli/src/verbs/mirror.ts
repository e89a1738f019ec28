import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MirrorOptions, MirrorReport } from '@treeline/ostree';
import { type Command, InvalidArgumentError } from 'commander';
import { span } from '../arguments.ts';
import { shortPath } from '../connection/folder.ts';
import { CliError, toCliError } from '../errors.ts';
import { formatBytes } from '../output/bytes.ts';
import { paint } from '../output/colour.ts';
import { printJsonLine, printText } from '../output/document.ts';
import { clockTime, formatDuration } from '../output/duration.ts';
import { printError } from '../output/failure.ts';
import { type LiveLines, liveLines } from '../output/progress.ts';
import { count, shortId } from '../output/words.ts';
import { optionsOf, type Session } from '../session.ts';

type MirrorVerbOptions = {
  ref: string[];
  every: number;
  once?: boolean;
  deltas?: boolean;
  depth: number;
  delete?: boolean;
  keep: number;
  gpgKey: string[];
  ed25519Key: string[];
  unsignedSummary?: boolean;
  header: Record<string, string>;
  tlsCa?: string;
  tlsCertificate?: string;
  tlsKey?: string;
  grace: number;
  json?: boolean;
};

/** Signatures that were added to commits which are there already are looked for so often. */
const THOROUGH_MS = 3_600_000;

export function declare(command: Command, session: Session): void {
  command
    .description(
      'Follow an OSTree remote: keep a repository here that clients can pull from as from the remote, at every moment. With all ' +
        'refs it has the remote’s own summary and signatures; with some of them a summary of its own.',
    )
    .argument('<url>', 'the remote: http://…, https://…, or a path')
    .argument('<dir>', 'an archive repository, which is made if there is none')
    .option(
      '--ref <pattern>',
      'only refs of this name; * is anything but a slash, ** that too (may be repeated)',
      append,
      [],
    )
    .option('--every <span>', 'look again so often, such as 60s', span, 60)
    .option('--once', 'look once, and end')
    .option('--deltas', 'static deltas as well')
    .option('--depth <n>', 'so many parents of each commit, -1 for all', depth, 0)
    .option('--delete', 'delete what the remote does not have any more')
    .option('--keep <span>', 'how long that stays after nothing names it, such as 1h (with --delete)', span, 3600)
    .option('--gpg-key <file>', 'OpenPGP keys of which one has to have signed (may be repeated)', append, [])
    .option('--ed25519-key <key>', 'ed25519 key in base64 that has to have signed (may be repeated)', append, [])
    .option('--unsigned-summary', 'take a summary that is not signed, although there are keys')
    .option('--header <header>', '"Name: value" to send along, such as a token (may be repeated)', header, {})
    .option('--tls-ca <file>', 'what the certificate of the remote is checked by')
    .option('--tls-certificate <file>', 'client certificate')
    .option('--tls-key <file>', 'its key')
    .option(
      '--grace <seconds>',
      'how long signatures of two summaries are there together when one replaces the other',
      seconds,
      2,
    )
    .addHelpText(
      'after',
      `
Examples:
  treeline mirror https://dl.example.org/repos/public /srv/mirror --gpg-key release.asc
  treeline mirror https://dl.flathub.org/repo /srv/apps --ref 'app/org.example.*/x86_64/stable' --once

It prints a line for each change, and with --json a JSON line. Serve the folder with
treeline repo serve, nginx, or any other web server: docs/serving.md`,
    )
    .action(async (url: string, folder: string, _: object, self: Command) => {
      await follow(url, folder, optionsOf<MirrorVerbOptions>(self), session);
    });
}

async function follow(url: string, folder: string, options: MirrorVerbOptions, session: Session): Promise<void> {
  const { mirrorMemory, mirrorRemote } = await import('@treeline/ostree');
  const { signal } = session;
  const settings: MirrorOptions = {
    ...engineOptions(url, options),
    memory: mirrorMemory(),
    signal,
  };
  const screen = liveLines(process.stderr);
  session.interruptedHint = 'What was fetched stays: the same command goes on where it was.';
  let thorough = 0;
  try {
    for (let first = true; ; first = false) {
      const began = Date.now();
      const isThorough = began - thorough >= THOROUGH_MS;
      try {
        const report = await mirrorRemote(folder, {
          ...settings,
          thorough: isThorough,
          onProgress: ({ objects, objectsKnown, bytes, rate }) => {
            const words = `${objects} of ${objectsKnown} objects  ${formatBytes(bytes)}  ${formatBytes(rate)}/s`;
            screen.show([paint('dim', `${screen.tick()} ${words}`, process.stderr)]);
          },
        });
        if (isThorough) thorough = began;
        screen.show([]);
        tell(report, { options, folder, first, screen, milliseconds: Date.now() - began });
      } catch (error) {
        screen.show([]);
        if (signal.aborted || options.once || !mayPass(error)) throw error;
        printError(toCliError(error), { json: options.json === true });
      }
      if (options.once) return;
      await sleep(options.every * 1000, undefined, { signal });
    }
  } catch (error) {
    // Somebody stops what goes on for ever; that is no failure.
    if (!signal.aborted || options.once) throw error;
  } finally {
    screen.close();
  }
}

/** What a later round may do better: the remote is away, is being repaired, or signs again. */
function mayPass(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return ['network', 'not-found', 'signature', 'corrupt', 'no-space', 'io'].includes(String(code));
}

function engineOptions(url: string, options: MirrorVerbOptions): MirrorOptions {
  const { tlsCa, tlsCertificate, tlsKey } = options;
  if ((tlsCertificate === undefined) !== (tlsKey === undefined)) {
    throw new CliError('usage', 'A client certificate and its key go together.', {
      hint: 'Give --tls-certificate and --tls-key.',
    });
  }
  const tls = {
    ...(tlsCa === undefined ? {} : { ca: read(tlsCa) }),
    ...(tlsCertificate === undefined ? {} : { cert: read(tlsCertificate) }),
    ...(tlsKey === undefined ? {} : { key: read(tlsKey) }),
  };
  for (const file of options.gpgKey) read(file);
  return {
    url,
    ...(options.ref.length > 0 ? { refs: options.ref } : {}),
    deltas: options.deltas === true,
    depth: options.depth,
    keys: { gpg: options.gpgKey.map((file) => resolve(file)), ed25519: options.ed25519Key },
    unsignedSummary: options.unsignedSummary === true,
    ...(options.delete ? { deleteAfter: options.keep } : {}),
    grace: options.grace,
    headers: options.header,
    ...(Object.keys(tls).length > 0 ? { tls } : {}),
  };
}

function read(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new CliError('not-found', `${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

function tell(
  report: MirrorReport,
  o: { options: MirrorVerbOptions; folder: string; first: boolean; screen: LiveLines; milliseconds: number },
): void {
  const { options, folder, first, milliseconds } = o;
  const { refs, objects, bytes, deltas, summary, deleted } = report;
  const changed = refs.length + deltas + deleted > 0 || summary !== null;
  if (options.json) {
    if (changed || options.once) printJsonLine({ time: Date.now(), ...report, milliseconds });
    return;
  }
  const time = options.once ? '' : `${paint('dim', clockTime(Date.now()))} `;
  for (const { name, from, to } of refs) {
    const was = from === null ? 'new' : `was ${shortId(from)}`;
    printText(`${time}${paint('bold', name)} ${to === null ? `is gone (${was})` : `is now ${shortId(to)} (${was})`}`);
  }
  if (!changed) {
    if (options.once || first) printText(`${time}${shortPath(resolve(folder))} is up to date`);
    return;
  }
  const parts = [
    ...(objects > 0 ? [`${count(objects, 'object')}, ${formatBytes(bytes)}`] : []),
    ...(deltas > 0 ? [count(deltas, 'delta')] : []),
    ...(summary === null ? [] : [summary === 'theirs' ? 'their summary' : 'a summary of its own']),
    ...(deleted > 0 ? [`${count(deleted, 'file')} deleted`] : []),
    formatDuration(milliseconds),
  ];
  printText(`${time}${paint('dim', parts.join(', '))}`);
}

function append(text: string, before: string[]): string[] {
  return [...before, text];
}

function header(text: string, before: Record<string, string>): Record<string, string> {
  const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*(.*)$/.exec(text);
  if (!match) throw new InvalidArgumentError('It must be a header such as "Authorization: Bearer …".');
  return { ...before, [match[1]!]: match[2]! };
}

function depth(text: string): number {
  if (/^(-1|\d{1,6})$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a number of parents, or -1 for all.');
}

function seconds(text: string): number {
  if (/^\d{1,4}(\.\d+)?$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a number of seconds.');
}
