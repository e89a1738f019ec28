import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OstreeClient, Outcome } from '../testing/ostree-client.ts';

/** When the server was not there: its kills and when it answered again; the last may still go on. */
export interface Outage {
  from: number;
  until: number | null;
}

export interface PullingClient {
  client: OstreeClient;
  /** Where its repository is made. */
  folder: string;
  mode: string;
  url: string;
  /** Outages of what it pulls from; none at all for what is never killed. */
  outages: readonly Outage[];
  /** File with the public key of who signs. */
  publicKey: string;
  /**
   * Whether the summary's signature is checked, too. A plain file server gives whatever is there at the moment of each
   * of the two requests, and a GPG signature fits one summary only.
   */
  verifiesSummary: boolean;
  channels: readonly string[];
  /** Whether a commit is one that has been released, or is just being. */
  isReleased(channel: string, commit: string): boolean;
}

/** What a client went through. */
export interface Experience {
  name: string;
  pulls: number;
  /** Pulls that failed because the server was not there. */
  refused: number;
}

/**
 * What libostree says when a server dies or is not there, by curl's error codes: no connection, a partial file, no answer,
 * a failure to send or to receive. Nothing that it says of wrong bytes is among it.
 */
const NOT_THERE = /\[(7|18|52|55|56)\] |Connection refused|Connection reset/;

/** Eight clients that never pause leave a small machine no time for the server. */
const PAUSE_MS = 500;

/** Pulls channel after channel until it is told to stop. Throws at the first failure that is not a server's absence. */
export async function pullInLoops(what: PullingClient, signal: AbortSignal): Promise<Experience> {
  const { client, folder, mode, url, channels } = what;
  const repo = join(folder, 'repo');
  const call = async (...args: string[]): Promise<Outcome> => client.ostree(folder, ...args, `--repo=${repo}`);
  const must = async (...args: string[]): Promise<string> => {
    const { status, output } = await call(...args);
    assert.equal(status, 0, `${client.name}: ostree ${args.join(' ')}: ${output}`);
    return output.trim();
  };
  await must('init', `--mode=${mode}`);
  await must(
    'remote',
    'add',
    `--set=gpg-verify-summary=${what.verifiesSummary}`,
    `--gpg-import=${what.publicKey}`,
    'origin',
    url,
  );
  const experience: Experience = { name: `${client.name}, ${mode}, ${url}`, pulls: 0, refused: 0 };
  for (let round = 0; !signal.aborted; round++) {
    const channel = channels[round % channels.length]!;
    const from = Date.now();
    const { status, output } = await call('pull', 'origin', channel);
    if (status !== 0) {
      const isExcused = wasOut(what.outages, from, Date.now()) && NOT_THERE.test(output);
      assert.ok(isExcused, `${experience.name}: pull of ${channel} failed after ${experience.pulls}: ${output}`);
      experience.refused++;
      await sleep(200);
      continue;
    }
    experience.pulls++;
    const commit = await must('rev-parse', `origin:${channel}`);
    assert.ok(
      what.isReleased(channel, commit),
      `${experience.name}: ${channel} is at ${commit}, which was never released`,
    );
    if (round % 10 === 9) await must('fsck', '--quiet');
    await sleep(PAUSE_MS);
  }
  await must('fsck', '--quiet');
  return experience;
}

function wasOut(outages: readonly Outage[], from: number, until: number): boolean {
  return outages.some((outage) => outage.from <= until && (outage.until ?? Number.POSITIVE_INFINITY) >= from);
}
