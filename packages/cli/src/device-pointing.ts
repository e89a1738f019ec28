import type { DevicePointer } from '@treeline/server';
import type { Command } from 'commander';
import { span } from './arguments.ts';
import { CliError, toCliError } from './errors.ts';
import { printDocument, printText } from './output/document.ts';
import { nearTime } from './output/duration.ts';
import { oneLine } from './output/text.ts';
import { shortId } from './output/words.ts';
import { clientOf, optionsOf, type Session } from './session.ts';

type PointOptions = { at: string; ref?: string; commit?: string; for?: number };

/** A ref file is 65 bytes; whatever answers with more is no OSTree repository. */
const REF_LIMIT = 4096;

/** Adds `point` and `back` to the verb of devices. */
export function declarePointing(command: Command, session: Session): void {
  command
    .command('point')
    .argument('<id>', 'the device')
    .summary('let a device run a commit of a repository of yours, for a while')
    .description(
      'Send a device to an OSTree repository for its next update: yours, as `treeline serve` serves it. The server ' +
        'tells the device the checksum of the commit, so that plain HTTP is safe: a device takes that commit or none. ' +
        'It is checked and left like every release, and the device comes back by itself when the time is over.',
    )
    .requiredOption('--at <url>', 'address of the repository, as the device reaches it')
    .option('--ref <ref>', 'the ref to take; which commit it names is looked up there, now')
    .option(
      '--commit <commit>',
      'the commit to take: its checksum, or what your own repository knows it by, also a ref',
    )
    .option('--for <span>', 'how long: 30m, 8h, 2d (default: 8h)', span)
    .addHelpText(
      'after',
      '\nExample:\n  treeline device point robot-1 --at http://192.168.1.5:8422 --ref dev/ana/robot',
    )
    .action((id: string, _: object, self: Command) => point(id, self, session));

  command
    .command('back')
    .argument('<id>', 'the device')
    .summary('send a device back to the release of its channel')
    .description('Send a device back to the release of its channel, before the time is over for which it was pointed.')
    .action(async (id: string, _: object, self: Command) => {
      const options = optionsOf(self);
      await clientOf(session, options).send('DELETE', `devices/${encodeURIComponent(id)}/pointer`);
      if (options.json) return printDocument({ device: id, pointer: null });
      printText(`${id} goes back to the release of its channel at its next look.`);
    });
}

async function point(id: string, self: Command, session: Session): Promise<void> {
  const options = optionsOf<PointOptions>(self);
  const { ref, commit } = options;
  const url = repositoryUrl(options.at);
  if ((ref === undefined) === (commit === undefined)) {
    throw new CliError('usage', 'Say what the device is to run: --ref REF or --commit COMMIT.', {
      hint: '`treeline serve` prints the whole command.',
    });
  }
  const client = clientOf(session, options);
  const pointer = await client.send<DevicePointer>('PUT', `devices/${encodeURIComponent(id)}/pointer`, {
    url,
    commit: ref === undefined ? await ownCommit(commit!) : await commitOfRef(url, ref, session.signal),
    ...(ref === undefined ? {} : { ref }),
    ...(options.for === undefined ? {} : { seconds: options.for }),
  });
  if (options.json) return printDocument({ device: id, pointer });
  const time = nearTime(Date.parse(pointer.expiresAt), Date.now());
  const name = [ref, shortId(pointer.commit)].filter(Boolean).join(', ');
  printText(`${id} takes ${oneLine(name)} from ${oneLine(pointer.url)} at its next look, until ${time}.`);
  printText(`Back to its channel before that: treeline device back ${id}`);
}

function repositoryUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return text.replace(/\/+$/, '');
  throw new CliError('usage', `--at is not the address of a repository: ${text}`, {
    hint: 'Write it like this: http://192.168.1.5:8422',
  });
}

/** A commit of the developer's own repository; a whole checksum may be of any. */
async function ownCommit(name: string): Promise<string> {
  if (/^[0-9a-f]{64}$/.test(name)) return name;
  const { existsSync } = await import('node:fs');
  const { homePath, openHome } = await import('./workspace/home.ts');
  const { tryResolveRev } = await import('@treeline/ostree');
  // Nobody's repository is made only because somebody mistyped a checksum.
  const found = existsSync(homePath()) ? await tryResolveRev((await openHome()).repo, name) : null;
  if (found !== null) return found;
  throw new CliError('not-found', `Your repository has no commit ${name}.`, {
    hint: 'A commit of somebody else needs its whole checksum. Yours are in: treeline commit',
  });
}

/** Which commit a ref of a served repository names. */
async function commitOfRef(url: string, ref: string, signal: AbortSignal): Promise<string> {
  const hint =
    'Is `treeline serve` running there? If only the device reaches that address, name a commit of yours: --commit REF';
  let response: Response;
  try {
    response = await fetch(`${url}/refs/heads/${ref.split('/').map(encodeURIComponent).join('/')}`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(15_000)]),
    });
  } catch (cause) {
    if (signal.aborted) throw toCliError(signal.reason);
    throw new CliError('unreachable', `${url} does not answer.`, { cause, hint });
  }
  if (response.status === 403) {
    throw new CliError('not-allowed', `${url} does not let this machine in.`, {
      hint: 'Let whoever serves it name this machine (treeline serve --allow), or give the commit: --commit.',
    });
  }
  const length = Number(response.headers.get('content-length') ?? 0);
  const text = response.ok && length <= REF_LIMIT ? (await response.text()).trim() : '';
  if (/^[0-9a-f]{64}$/.test(text)) return text;
  throw new CliError('not-found', `${url} has no ref ${ref}.`, { hint });
}
