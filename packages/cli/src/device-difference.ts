import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DeviceChange, DeviceDifference } from '@treeline/server';
import type { Command } from 'commander';
import { seconds } from './arguments.ts';
import { CliError } from './errors.ts';
import { formatBytes } from './output/bytes.ts';
import { printDocument, printProse, printText } from './output/document.ts';
import { oneLine } from './output/text.ts';
import { count } from './output/words.ts';
import { clientOf, optionsOf, type Session } from './session.ts';

type DifferenceOptions = { export?: string; wait: number };

/** Adds `shell-diff` to the verb of devices. */
export function declareDifference(command: Command, session: Session): void {
  command
    .command('shell-diff')
    .argument('<id>', 'the device')
    .summary('what was changed on a device by hand')
    .description(
      'What differs on a device from its commit: its /etc from what the release ships, and what was written to its /usr. The ' +
        'device is asked, and answers when it next looks at the server. Files that only their owner may read stay on it.',
    )
    .option('--export <dir>', 'carry the files back: into this new folder, /etc as usr/etc, to become a layer')
    .option('--wait <seconds>', 'how long to wait for its answer (default: 300)', seconds, 300)
    .addHelpText('after', '\nExample:\n  treeline device shell-diff robot-1 --export config')
    .action((id: string, _: object, self: Command) => difference(id, self, session));
}

async function difference(id: string, self: Command, session: Session): Promise<void> {
  const options = optionsOf<DifferenceOptions>(self);
  const client = clientOf(session, options);
  const path = `devices/${encodeURIComponent(id)}/difference`;
  await client.send<DeviceDifference>('POST', path);
  const until = Date.now() + options.wait * 1000;
  let answer = await client.get<DeviceDifference>(path);
  while (answer.state === 'waiting') {
    if (Date.now() > until) {
      throw new CliError('unreachable', `${id} has not answered within ${options.wait} s.`, {
        hint: `It answers when it next looks at the server; when it last did: treeline devices show ${id}`,
      });
    }
    await sleep(500, undefined, { signal: session.signal });
    answer = await client.get<DeviceDifference>(path);
  }
  const written = options.export === undefined ? 0 : await exportChanges(answer.changes, resolve(options.export));
  if (options.json) return printDocument({ device: id, ...answer });
  if (answer.changes.length === 0) printProse(`Nothing was changed on ${id} by hand.`);
  for (const change of answer.changes) printText(lineOf(change));
  if (!answer.complete) printProse('There is more: the device told only the first of its changes.');
  if (options.export !== undefined) printProse(`${count(written, 'file')} in ${oneLine(options.export)}`);
}

const SIGNS = { added: '+', changed: 'M', removed: '-' } as const;

function lineOf({ path, change, type, size, target, omitted }: DeviceChange): string {
  const about = type === 'symlink' ? ` -> ${target}` : size === null ? '' : `  ${formatBytes(size)}`;
  const kept = omitted === null ? '' : omitted === 'secret' ? '  (secret: stays there)' : '  (too large)';
  return oneLine(`${SIGNS[change]} ${path}${about}${kept}`);
}

/** Writes what was added and changed into a folder that can be a layer: a tree has its /etc in /usr/etc. */
async function exportChanges(changes: readonly DeviceChange[], folder: string): Promise<number> {
  await mkdir(folder).catch((cause: unknown) => {
    throw new CliError('usage', `${folder} cannot be made: it must not be there yet.`, { cause });
  });
  // The device is not trusted with paths of this machine: no "..", and links come last, when all folders are there, so that
  // nothing is written through one.
  const safe = changes.flatMap((change) => {
    const parts = change.path.split('/').filter((part) => part !== '' && part !== '.');
    if (parts.includes('..') || change.path.includes('\0')) return [];
    return [{ ...change, to: join(folder, ...(parts[0] === 'etc' ? ['usr', ...parts] : parts)) }];
  });
  for (const { type, to } of safe) await mkdir(type === 'folder' ? to : dirname(to), { recursive: true });
  const files = safe.filter(({ type, content }) => type === 'file' && content !== null);
  for (const { to, mode, content } of files) {
    await writeFile(to, Buffer.from(content ?? '', 'base64'), { mode: (mode ?? 0o644) & 0o777, flag: 'wx' });
  }
  const links = safe.filter(({ type, target }) => type === 'symlink' && target !== null);
  for (const { to, target } of links) await symlink(target ?? '', to);
  return files.length + links.length;
}
