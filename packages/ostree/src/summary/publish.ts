import { lstatSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemCode } from '../errors.ts';
import { syncFolder, writeFileDurably } from '../fs/durable.ts';
import type { Repo } from '../repo/repo.ts';
import { allSignatures } from './joint-signatures.ts';
import { LINGER_MS, type SwitchStep, switchPair } from './switch-pair.ts';

/** How a summary takes the place of the one before. */
export interface PublishSummaryOptions {
  /**
   * Seconds for which signatures of the summary that is there and of the new one are both in `summary.sig`, before the
   * new one comes and again after that. Default 0. See publishSummary.
   */
  grace?: number;
  /** Called when the new summary can be seen and is on disk; after it there is only the second wait. */
  onVisible?: () => void;
  signal?: AbortSignal;
}

/**
 * Puts a summary in place with its signatures, or without any. The two files change at one moment (see switchPair),
 * and a crash at any other leaves two that fit.
 *
 * A client asks for `summary.sig` first and then for `summary`, so it can still get the old one of the first and the new
 * one of the second. With a grace, each of the two fits the other's successor for so long: a client accepts a summary
 * when any one of its ed25519 signatures is good, so signatures of the new summary are added to those of the old one, a
 * grace before the new one comes, and those of the old one are dropped a grace after. Between, `summary.sig` changes
 * once more, since a client that has cached the old summary with it asks for a new one only when it changes.
 *
 * GnuPG stops at the first bad signature, so a GPG signature fits one summary alone; a grace does nothing for it, and
 * there is none where GPG is all that signs. What closes the gap for it is a server that gives a connection the summary
 * that fits what it got before: see repositoryHandler.
 *
 * @throws DOMException `AbortError` when the signal comes in the first wait; what is in place fits then. The second wait
 *   is cut short by it
 */
export async function publishSummary(
  repo: Repo,
  summary: Uint8Array,
  signatures: Uint8Array | null,
  options: PublishSummaryOptions & { step?: SwitchStep } = {},
): Promise<void> {
  const { grace = 0, signal, step = () => {}, onVisible = () => {} } = options;
  const path = join(repo.path, 'summary');
  const before = await readIfThere(`${path}.sig`);
  // A link to nothing is what a switch that was cut off may have left.
  if (signatures === null && !lstatSync(`${path}.sig`, { throwIfNoEntry: false })) {
    await writeFileDurably(path, summary);
    onVisible();
    return;
  }
  if (signatures !== null && before !== null && Buffer.compare(before, signatures) === 0) {
    if ((await readIfThere(path))?.equals(summary)) {
      onVisible();
      return;
    }
  }
  const joint = grace > 0 && signatures && before ? allSignatures(before, signatures) : null;
  if (joint) {
    step('announce');
    await writeFileDurably(`${path}.sig`, joint.oldFirst);
    await sleep(grace * 1000, undefined, { signal });
  }
  const tidy = await switchPair(repo.path, { summary, 'summary.sig': joint ? joint.newFirst : signatures }, step);
  await syncFolder(repo.path);
  onVisible();
  await sleep(LINGER_MS);
  tidy();
  if (!joint || !signatures) return;
  await sleep(grace * 1000, undefined, { signal }).catch(() => {});
  step('forget');
  await writeFileDurably(`${path}.sig`, signatures);
}

async function readIfThere(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  }
}
