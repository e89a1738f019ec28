import type { Device, DeviceDetail, EnrolmentToken } from '@treeline/server';
import type { Command } from 'commander';
import { refuseWords, span, wholeNumber } from '../arguments.ts';
import type { Client } from '../connection/client.ts';
import { declareDifference } from '../device-difference.ts';
import { declarePointing } from '../device-pointing.ts';
import { CliError } from '../errors.ts';
import { paint } from '../output/colour.ts';
import { deviceTable, formatDevice, formatOrigins } from '../output/device.ts';
import { printDocument, printProse, printText } from '../output/document.ts';
import { oneLine } from '../output/text.ts';
import { fetchReleases, parseChannel, resolveCommit } from '../revisions.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

type SetOptions = { accept?: boolean; refuse?: boolean; channel?: string; allowNewKey?: boolean; forgive?: string };
type TokenOptions = { channel?: string; expires?: number; uses?: number };

export function declare(command: Command, session: Session): void {
  command.description('The boards: what each runs, from which git revisions that was made, how it goes, and why.');

  command
    .command('list', { isDefault: true })
    .summary('all devices (what `treeline devices` alone does)')
    .description('All devices: what each says of itself, what it runs, and from which git revisions that was made.')
    .allowExcessArguments()
    .action((_: object, self: Command) => list(self, session));

  command
    .command('show')
    .argument('<id>', 'the device')
    .summary('one device, with what it reported last')
    .description('One device: what it runs and should run, releases that failed on it, and what it reported last.')
    .option('-n, --limit <number>', 'how many of its reports', wholeNumber, 10)
    .action((id: string, _: object, self: Command) => show(id, self, session));

  command
    .command('set')
    .argument('<id>', 'the device')
    .summary('let a device in, move it to a channel, forgive a release')
    .description('Change what the server does with a device.')
    .option('--accept', 'let it in')
    .option('--refuse', 'give it nothing any more')
    .option('--channel <channel>', 'REPO:CHANNEL or CHANNEL that it follows; `none`: it follows what it asks for')
    .option('--allow-new-key', 'take its next certificate with another key (after a board was replaced)')
    .option('--forgive <rev>', 'offer it a release again that failed on it')
    .action((id: string, _: object, self: Command) => set(id, self, session));

  command
    .command('remove')
    .argument('<id>', 'the device')
    .summary('forget a device')
    .description('Forget a device. Its certificate then counts as that of an unknown one.')
    .action(async (id: string, _: object, self: Command) => {
      const options = optionsOf(self);
      await clientOf(session, options).send('DELETE', `devices/${encodeURIComponent(id)}`);
      if (options.json) return printDocument({ removed: id });
      printText(`${id} is forgotten.`);
    });

  command
    .command('enrol-token')
    .summary('a token that lets a device in')
    .description('Make a token with which a device enrols: treeline agent enrol, on the device. It is shown only once.')
    .option('--channel <channel>', 'REPO:CHANNEL or CHANNEL that the devices follow')
    .option('--expires <span>', 'how long it is good: 90s, 15m, 2h, 7d (default: 1h)', span)
    .option('--uses <number>', 'how many devices it lets in (default: 1)', wholeNumber)
    .action((_: object, self: Command) => enrolToken(self, session));

  declarePointing(command, session);
  declareDifference(command, session);
}

async function list(self: Command, session: Session): Promise<void> {
  refuseWords(self);
  const options = optionsOf(self);
  const client = clientOf(session, options);
  const answer = await client.get<{ devices: Device[] }>('devices');
  if (options.json) return printDocument(answer);
  if (answer.devices.length === 0) {
    return printText('No devices yet. Let one in: treeline devices enrol-token --channel robot/edge');
  }
  const { releases } = await fetchReleases(client, {});
  printText(deviceTable(answer.devices, { releases, now: Date.now() }));
  const origins = formatOrigins(answer.devices, releases);
  if (origins) printText(`\n${origins}`);
}

async function show(id: string, self: Command, session: Session): Promise<void> {
  const options = optionsOf<{ limit: number }>(self);
  const client = clientOf(session, options);
  const device = await client.get<DeviceDetail>(`devices/${encodeURIComponent(id)}`);
  if (options.json) return printDocument(device);
  const { releases } = await fetchReleases(client, {});
  printText(formatDevice(device, { releases, now: Date.now(), events: options.limit }));
}

/** A commit that failed on a device, by the beginning of its checksum: a developer's is nothing that the server has. */
async function failedCommit(client: Client, id: string, rev: string): Promise<string> {
  if (/^[0-9a-f]{7,64}$/.test(rev)) {
    const { badReleases } = await client.get<DeviceDetail>(`devices/${encodeURIComponent(id)}`);
    const found = badReleases.filter(({ commit }) => commit.startsWith(rev));
    if (found.length === 1) return found[0]!.commit;
  }
  return resolveCommit(client, rev);
}

async function set(id: string, self: Command, session: Session): Promise<void> {
  const options = optionsOf<SetOptions>(self);
  if (options.accept && options.refuse) throw new CliError('usage', '--accept and --refuse say the opposite.');
  const client = clientOf(session, options);
  const channel = options.channel === undefined || options.channel === 'none' ? null : parseChannel(options.channel);
  const patch = {
    ...(options.accept ? { accepted: true } : {}),
    ...(options.refuse ? { accepted: false } : {}),
    ...(options.channel === undefined ? {} : { channel: channel?.channel ?? null }),
    ...(channel?.repository ? { repository: channel.repository } : {}),
    ...(options.allowNewKey ? { allowKeyChange: true } : {}),
    ...(options.forgive ? { forgive: [await failedCommit(client, id, options.forgive)] } : {}),
  };
  if (Object.keys(patch).length === 0) {
    throw new CliError('usage', 'There is nothing to change.', {
      hint: 'treeline devices set --help says what can be.',
    });
  }
  const device = await client.send<Device>('PATCH', `devices/${encodeURIComponent(id)}`, patch);
  if (options.json) return printDocument(device);
  const { releases } = await fetchReleases(client, {});
  printText(deviceTable([device], { releases, now: Date.now() }));
}

async function enrolToken(self: Command, session: Session): Promise<void> {
  const options = optionsOf<TokenOptions>(self);
  const channel = options.channel === undefined ? null : parseChannel(options.channel);
  const token = await clientOf(session, options).send<EnrolmentToken>('POST', 'enrolment-tokens', {
    ...(channel ? { channel: channel.channel } : {}),
    ...(channel?.repository ? { repository: channel.repository } : {}),
    ...(options.expires ? { expiresSeconds: options.expires } : {}),
    ...(options.uses ? { uses: options.uses } : {}),
  });
  if (options.json) return printDocument(token);
  const who = token.uses === 1 ? 'one device' : `${token.uses} devices`;
  const follows = token.channel ? `, to follow ${token.repository}:${token.channel}` : '';
  printProse(
    `Lets in ${who} until ${new Date(token.expiresAt).toLocaleString('sv')}${oneLine(follows)}. It is shown only now:`,
  );
  printText(`\n${paint('bold', oneLine(token.token))}\n`);
  printText(paint('dim', 'On the device:'));
  printText(`treeline agent enrol --board DIR --gateway ${oneLine(token.gateway)} --token TOKEN`);
}
