import { setTimeout as sleep } from 'node:timers/promises';
import { OstreeError } from '../errors.ts';
import { readBody } from '../pull/http.ts';
import type { Remote } from '../pull/remote.ts';
import { RemoteSummary } from '../pull/remote-summary.ts';
import { allRefs, resolveRefs, type WantedRef } from '../pull/wanted-refs.ts';
import { MAX_METADATA_BYTES } from '../repo/objects.ts';
import { isRefName } from '../repo/refs.ts';
import { decodeSignatures, type Verification, verifySigned } from '../sign/remote-verification.ts';
import { isOneRef, refPattern } from './pattern.ts';

/** What a remote publishes, as of one moment. */
export interface Upstream {
  /** Null for a remote that has none. */
  files: { summary: Buffer; signature: Buffer | null } | null;
  summary: RemoteSummary | null;
}

/** A remote that replaces its summary has its signature in place soon after. */
const TRIES = 5;
const WAIT_MS = 300;

/** The summary of a remote and its signatures, asked for again only when they have changed. */
export class UpstreamFiles {
  readonly #known = new Map<string, { data: Buffer; etag: string }>();

  /**
   * Both, of one release: where there are keys, these tell; without any, two files that are the same when they are asked
   * for again.
   *
   * @throws OstreeError `signature` when it stays one that does not fit, or is missing though there are keys
   */
  async fetch(remote: Remote, verification: Verification | null, signal?: AbortSignal): Promise<Upstream> {
    for (let left = TRIES; ; left--) {
      const signature = await this.#get(remote, 'summary.sig');
      const summary = await this.#get(remote, 'summary');
      try {
        if (verification) await verify(verification, summary, signature);
        else if (!same(signature, await this.#get(remote, 'summary.sig'))) {
          throw new OstreeError('signature', `${remote.where}summary: changes all the time`);
        }
      } catch (error) {
        // A remote without a way to replace both at once has one of each for a moment.
        if (!(error instanceof OstreeError) || error.code !== 'signature' || left === 0) throw error;
        await sleep(WAIT_MS, undefined, { signal });
        continue;
      }
      return {
        files: summary && { summary, signature },
        summary: summary && new RemoteSummary(summary, `${remote.where}summary`),
      };
    }
  }

  /** Whether a remote still has the same summary and signatures. */
  async isStill(remote: Remote, { files }: Upstream): Promise<boolean> {
    const signature = await this.#get(remote, 'summary.sig');
    const summary = await this.#get(remote, 'summary');
    return same(signature, files?.signature ?? null) && same(summary, files?.summary ?? null);
  }

  async #get(remote: Remote, name: string): Promise<Buffer | null> {
    if (!remote.source) return remote.file(name, MAX_METADATA_BYTES);
    const known = this.#known.get(name);
    const found = await remote.source.get(
      name,
      async (reply) => {
        const data = await readBody(reply, MAX_METADATA_BYTES);
        if (reply.status === 304 && known) return known;
        return { data, etag: reply.headers.etag ?? '' };
      },
      () => (known ? { 'if-none-match': known.etag } : undefined),
    );
    if (found?.etag) this.#known.set(name, found);
    else this.#known.delete(name);
    return found?.data ?? null;
  }
}

/** Whether it is the same summary, with the same signatures. */
export function isSameUpstream({ files: a }: Upstream, { files: b }: Upstream): boolean {
  return same(a?.signature ?? null, b?.signature ?? null) && same(a?.summary ?? null, b?.summary ?? null);
}

async function verify(verification: Verification, summary: Buffer | null, signature: Buffer | null): Promise<void> {
  if (!summary) throw new OstreeError('signature', 'a signed summary is wanted, and there is none');
  if (!signature) {
    throw new OstreeError('signature', 'the summary is not signed', {
      hint: 'Without a signed summary, whoever is in between could hide new releases. Accept that with --unsigned-summary.',
    });
  }
  await verifySigned(verification, summary, decodeSignatures(signature), 'summary');
}

function same(a: Buffer | null, b: Buffer | null): boolean {
  return a && b ? a.equals(b) : a === b;
}

/**
 * The refs of a remote that are wanted. Of one without a summary only single refs can be had over HTTP.
 *
 * @param patterns all that it lists when there are none
 * @throws OstreeError `not-found` for a single ref that it does not have
 */
export async function wantedOf(
  remote: Remote,
  { summary }: Upstream,
  o: { patterns: readonly string[]; signed: boolean },
): Promise<WantedRef[]> {
  const { patterns, signed } = o;
  const single = patterns.filter(isOneRef);
  const several = patterns.filter((pattern) => !isOneRef(pattern)).map(refPattern);
  const found = new Map<string, WantedRef>();
  if (patterns.length === 0 || several.length > 0) {
    const all = summary ? [...summary.refs()].filter(({ name }) => isRefName(name)) : await allRefs(remote, null);
    const own = summary?.collection ?? remote.collection;
    for (const ref of all) {
      // What it mirrors of other collections goes with its whole summary, which lists that, too.
      if (patterns.length === 0) found.set(`${ref.collection}\n${ref.name}`, ref);
      else if (ref.collection === own && several.some((matches) => matches(ref.name))) found.set(ref.name, ref);
    }
  }
  for (const name of single) refPattern(name); // throws
  const asked = single.map((name) => ({ name, collection: null, commit: null }));
  for (const ref of await resolveRefs(remote, asked, summary, signed)) found.set(ref.name, ref);
  return [...found.values()];
}
