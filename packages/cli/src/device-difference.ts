import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DeviceChange, DeviceDifference } from '@treeline/server';
import type { Command } from 'commander';
import { seconds } from './arguments.ts';
import { shortPath } from './connection/folder.ts';
import type { Applied } from './device-changes.ts';
import { CliError } from './errors.ts';
import { formatBytes } from './output/bytes.ts';
import { printDocument, printProse, printText } from './output/document.ts';
import { oneLine } from './output/text.ts';
import { count, shortId } from './output/words.ts';
import { clientOf, optionsOf, type Session } from './session.ts';
import type { Workspace } from './workspace/record.ts';

type DifferenceOptions = { export?: string; into?: string; wait: number };

/** Adds `shell-diff` to the verb of devices. */
export function declareDifference(command: Command, session: Session): void {
  command
    .command('shell-diff')
    .argument('<id>', 'the device')
    .summary('what was changed on a device by hand')
    .description(
      'What differs on a device from its commit: its /etc from what the release ships, and its /usr where somebody wrote to ' +
        'it, as after `ostree admin unlock`, with or without --hotfix. The device is asked, and answers when it next looks ' +
        'at the server. Files that only their owner may read stay on it, and so does what each machine has for itself.',
    )
    .option('--into <workspace>', 'make all of it in a workspace of what the device runs, removals too; then: commit')
    .option('--export <dir>', 'carry the files back: into this new folder, /etc as usr/etc, to become a layer')
    .option('--wait <seconds>', 'how long to wait for its answer (default: 300)', seconds, 300)
    .addHelpText(
      'after',
      `
+ added, M changed, - removed.

Examples:
  treeline device shell-diff robot-1
  treeline checkout --device robot-1 ~/robot
  treeline device shell-diff robot-1 --into ~/robot
  treeline commit ~/robot -m "What was mended on the robot"`,
    )
    .action((id: string, _: object, self: Command) => difference(id, self, session));
}

async function difference(id: string, self: Command, session: Session): Promise<void> {
  const options = optionsOf<DifferenceOptions>(self);
  const workspace = options.into === undefined ? null : await findTarget(options.into);
  const answer = await ask(id, options, session);
  if (workspace !== null) assertSameCommit(id, answer, workspace);
  const exported = options.export === undefined ? null : await exportChanges(answer.changes, resolve(options.export));
  const brought = workspace === null ? null : await intoWorkspace(answer.changes, workspace);
  if (options.json) return printDocument({ device: id, ...answer });
  if (answer.changes.length === 0) printProse(`Nothing was changed on ${id} by hand.`);
  for (const change of answer.changes) printText(lineOf(change));
  if (!answer.complete) printProse('There is more: the device told only the first of its changes.');
  if (exported !== null) {
    printProse(`${count(exported.written, 'path')} in ${oneLine(options.export!)}`);
    tellLeft(exported);
    tellRemovals(exported.removed);
  }
  if (brought !== null && workspace !== null) {
    const { written, removed } = brought;
    const where = oneLine(shortPath(workspace.folder));
    printProse(`${count(written, 'path')} written and ${removed.length} removed in ${where}`);
    tellLeft(brought);
    if (brought.plain) {
      printProse(
        'Not carried over: owners, extended attributes or set-user-id bits. A workspace that root checks out keeps them.',
      );
    }
    printProse(`Next: treeline commit ${where}`);
  }
}

async function ask(
  id: string,
  options: DifferenceOptions & { data?: string },
  session: Session,
): Promise<DeviceDifference> {
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
  return answer;
}

/** Why the content of a file was not told, in words. */
export function whyOmitted({ omitted }: DeviceChange): string {
  return omitted === 'secret' ? 'secret: stays there' : 'too large';
}

const SIGNS = { added: '+', changed: 'M', removed: '-' } as const;

function lineOf(change: DeviceChange): string {
  const { path, size, target, type, differs } = change;
  const amount = size === null ? '' : `  ${formatBytes(size)}`;
  const about = type === 'symlink' && target !== null ? ` -> ${oneLine(target)}` : amount;
  const how = [
    ...(differs.includes('type') ? [`now a ${type}`] : []),
    ...(differs.includes('mode') ? [`mode ${change.mode?.toString(8).padStart(4, '0')}`] : []),
    ...(differs.includes('owner') ? [`owner ${change.uid}:${change.gid}`] : []),
    ...(differs.includes('xattrs') ? ['extended attributes'] : []),
  ];
  const said = how.length === 0 ? '' : `  ${how.join(', ')}`;
  const kept = change.omitted === null ? '' : `  (${whyOmitted(change)})`;
  return `${SIGNS[change.change]} ${oneLine(path)}${about}${said}${kept}`;
}

/** The workspace that takes the changes; found before the device is asked, which takes a while. */
async function findTarget(folder: string): Promise<Workspace> {
  const { findWorkspace } = await import('./workspace/record.ts');
  return findWorkspace(folder);
}

/** What was changed is told against the commit that runs: onto another one it would not give what the board has. */
function assertSameCommit(id: string, { commit }: DeviceDifference, { folder, record }: Workspace): void {
  if (commit === record.base) return;
  const runs = commit === null ? 'nothing that it knows' : shortId(commit);
  throw new CliError('conflict', `${shortPath(folder)} is ${shortId(record.base)}, but ${id} runs ${runs}.`, {
    hint: `Check out what it runs: treeline checkout --device ${id} DIR`,
  });
}

async function intoWorkspace(changes: readonly DeviceChange[], { folder, record }: Workspace): Promise<Applied> {
  const { applyChanges } = await import('./device-changes.ts');
  const etc = existsSync(join(folder, 'etc')) && !existsSync(join(folder, 'usr/etc')) ? 'etc' : 'usr/etc';
  return await applyChanges(changes, folder, { etc, exact: !record.userMode, removals: 'remove' });
}

/** Writes what was added and changed into a folder that can be a layer: a tree has its /etc in /usr/etc. */
async function exportChanges(changes: readonly DeviceChange[], folder: string): Promise<Applied> {
  await mkdir(folder).catch((cause: unknown) => {
    throw new CliError('usage', `${folder} cannot be made: it must not be there yet.`, { cause });
  });
  const { applyChanges } = await import('./device-changes.ts');
  return await applyChanges(changes, folder, { etc: 'usr/etc', exact: false, removals: 'tell' });
}

function tellLeft({ left }: Applied): void {
  if (left.length === 0) return;
  printProse(`Left on the board: ${left.map(({ path, why }) => oneLine(`${path} (${why})`)).join(', ')}`);
}

/** A layer only adds: what takes something away is a step of the composition. */
function tellRemovals(removed: readonly string[]): void {
  if (removed.length === 0) return;
  printProse('A layer cannot remove. These steps of the compose job, before the one that adds the layer, do:');
  for (const path of removed) printText(`      - remove: ${/^[\w./@+-]+$/.test(path) ? path : JSON.stringify(path)}`);
}
