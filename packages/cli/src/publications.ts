import { setTimeout as sleep } from 'node:timers/promises';
import type { Publication, Release, ReleaseDetail } from '@treeline/server';
import type { Client } from './connection/client.ts';
import { CliError } from './errors.ts';
import { paint } from './output/colour.ts';
import { printText } from './output/document.ts';
import { liveLines } from './output/progress.ts';
import { shortId } from './output/words.ts';

/** Waits until a publication is done or given up. */
export async function settled(client: Client, asked: Publication, signal: AbortSignal): Promise<Publication> {
  const screen = liveLines(process.stderr);
  let publication = asked;
  try {
    while (publication.state === 'publishing') {
      screen.show([paint('dim', `${screen.tick()} publishing${stepOf(publication)}`, process.stderr)]);
      await sleep(200, undefined, { signal });
      const detail = await client.get<ReleaseDetail>(`releases/${publication.number}`);
      publication = detail.publication;
    }
  } finally {
    screen.close();
  }
  return publication;
}

/** What is being done: `: deltas 2/5`; empty before anything is. */
export function stepOf({ step, progress, message }: Pick<Release, 'step' | 'progress' | 'message'>): string {
  const counted = progress ? ` ${progress.done}/${progress.total}` : '';
  const trouble = message ? `, ${message}` : '';
  return step || trouble ? `: ${step ?? ''}${counted}${trouble}` : '';
}

/** @throws CliError `conflict` when something newer came first, `failed` when it cannot be. */
export function assertPublished(publication: Publication): void {
  if (publication.state === 'published') return;
  const what = publication.releases.map(({ channel }) => channel).join(', ');
  const why = publication.message ?? 'something newer came first';
  throw new CliError(publication.state === 'failed' ? 'failed' : 'conflict', `${what} was not published: ${why}.`, {
    hint: `treeline release show ${publication.number}`,
  });
}

/** One line for each channel: what it has now, and what it had. */
export function printPublished({ releases, deltas, repository, madeRepository }: Publication): void {
  if (madeRepository) {
    printText(
      paint('yellow', `There was no repository ${repository}: it is made, private, and admits what is public.`),
    );
    printText(paint('dim', `To change that: treeline repository set ${repository} --help`));
  }
  for (const release of releases) {
    const { repository, channel, commit, number, previous } = release;
    printText(`${paint('bold', `${repository}:${channel}`)} is now ${shortId(commit)}, release ${number}`);
    const before = previous
      ? `was ${shortId(previous)}: treeline diff ${channel}^ ${channel}`
      : 'the first of this channel';
    printText(paint('dim', before));
  }
  const failed = deltas.filter(({ state }) => state === 'failed');
  for (const { from, message } of failed) {
    printText(paint('yellow', `There is no static delta from ${shortId(from)}: ${message ?? 'it could not be made'}`));
  }
}
