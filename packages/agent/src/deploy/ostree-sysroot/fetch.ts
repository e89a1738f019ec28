import { mkdir, open, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from '@treeline/ostree/fs/durable.ts';
import { AgentError } from '../../errors.ts';
import { download, type Source } from '../../wire/download.ts';
import { openRelay } from '../../wire/relay.ts';
import { createThrottle, type Throttle } from '../../wire/throttle.ts';
import type { DownloadPlan, Elsewhere, PullOptions } from '../deployer.ts';
import type { Remote } from '../remote.ts';
import { ostree } from './ostree-command.ts';

const REMOTE = 'treeline';
/** There only while a developer's commit is fetched. */
const POINTED_REMOTE = 'treeline-pointed';

export interface FetchPlace {
  repo: string;
  remote: Remote;
  /** Folder for the files of a delta while they arrive. */
  scratch: string;
}

export interface Fetched {
  objects: number;
  bytes: number;
}

/**
 * Brings a commit into the repository: `ostree` pulls, by way of this process, which counts, limits, and takes up
 * again what breaks off. A delta that is smaller is fetched as files and applied before: libostree, given both, fetches
 * some objects twice.
 *
 * @throws AgentError `unreachable`, `deploy-failed`; `release-unusable` for a commit that is bound to another ref
 */
export async function fetchCommit(place: FetchPlace, commit: string, o: PullOptions): Promise<Fetched> {
  const fetched: Fetched = { objects: 0, bytes: 0 };
  const throttle = createThrottle(o.limit);
  const count = {
    onBytes(bytes: number) {
      fetched.bytes += bytes;
      o.onProgress?.({ ...fetched });
    },
    onFile() {
      fetched.objects += 1;
      o.onProgress?.({ ...fetched });
    },
  };
  if (o.at !== null) {
    const source: Source = { base: o.at.url, headers: () => ({}) };
    await pullThrough(place.repo, { source, throttle, count, ...o, refs: [commit], pointed: o.at });
    return fetched;
  }
  const source = gatewaySource(place.remote);
  await setRemote(place.repo, place.remote);
  const { delta } = o.plan;
  if (delta !== null && delta.fallbacks === 0)
    await applyDelta(place, { commit, delta, source, throttle, count, ...o });
  // What a delta left out comes now, and what is there already costs nothing.
  const flags = delta === null && o.plan.bytes === null ? [] : ['--disable-static-deltas'];
  if (delta !== null && delta.fallbacks > 0) flags.length = 0;
  await pullThrough(place.repo, {
    source,
    throttle,
    count,
    ...o,
    flags,
    refs: [`${o.channel}@${commit}`],
    pointed: null,
  });
  return fetched;
}

/** Fetches commits that should be there, as far as they are damaged. */
export async function refetchCommits(
  place: FetchPlace,
  commits: readonly string[],
  o: { at: Elsewhere | null; signal?: AbortSignal | undefined },
): Promise<void> {
  const source = o.at === null ? gatewaySource(place.remote) : { base: o.at.url, headers: () => ({}) };
  if (o.at === null) await setRemote(place.repo, place.remote);
  const count = { onBytes: () => {}, onFile: () => {} };
  const flags = ['--disable-static-deltas'];
  const common = { source, throttle: createThrottle(null), count, flags, signal: o.signal };
  await pullThrough(place.repo, { ...common, refs: commits, pointed: o.at });
}

function gatewaySource(remote: Remote): Source {
  return { base: `${remote.gateway}/ostree`, headers: remote.headers, agent: remote.agent };
}

interface Counting {
  onBytes(bytes: number): void;
  onFile(path: string): void;
}

interface Through {
  source: Source;
  throttle: Throttle;
  count: Counting;
  refs: readonly string[];
  flags?: readonly string[];
  /** A developer's repository instead of the gateway's. */
  pointed: Elsewhere | null;
  signal?: AbortSignal | undefined;
}

async function pullThrough(repo: string, o: Through): Promise<void> {
  const relay = await openRelay({ source: o.source, throttle: o.throttle, ...o.count, signal: o.signal });
  const name = o.pointed === null ? REMOTE : POINTED_REMOTE;
  const cookies = join(repo, `${name}.cookies.txt`);
  const forget = () => ostree(['remote', 'delete', `--repo=${repo}`, '--if-exists', POINTED_REMOTE]);
  try {
    await writeFile(cookies, `${relay.cookie}\n`, { mode: 0o600 });
    if (o.pointed !== null) {
      // By its checksum alone: that takes the place of signatures, and the ref that it is bound to does not matter. The
      // remote goes again: nothing else is to be fetched from there. One may be left of a process that was killed.
      await forget();
      await ostree(['remote', 'add', `--repo=${repo}`, '--no-sign-verify', '--no-gpg-verify', name, o.pointed.url]);
    }
    await ostree(['pull', `--repo=${repo}`, `--url=${relay.url}`, ...(o.flags ?? []), name, ...o.refs], o.signal);
  } catch (error) {
    if (o.signal?.aborted) throw error;
    // Published under another name than it was made for: no retry changes that.
    if (error instanceof AgentError && error.message.includes('ref binding')) {
      throw new AgentError('release-unusable', error.message, { cause: error });
    }
    // What the other side did says more than that `ostree` did not get it.
    throw relay.problem ?? error;
  } finally {
    await relay.close();
    await rm(cookies, { force: true });
    if (o.pointed !== null) await forget();
  }
}

/**
 * Points the remote at the gateway with the board's certificate: mutual TLS takes the place of signatures. The agent does
 * not need the address; a person who pulls by hand does.
 */
async function setRemote(repo: string, remote: Remote): Promise<void> {
  const url = `${remote.gateway}/ostree`;
  const known = await ostree(['remote', 'show-url', `--repo=${repo}`, REMOTE]).catch(() => '');
  if (known.trim() === url) return;
  await ostree(['remote', 'delete', `--repo=${repo}`, '--if-exists', REMOTE]);
  await ostree([
    ...['remote', 'add', `--repo=${repo}`, '--no-gpg-verify'],
    `--set=tls-client-cert-path=${remote.files.cert}`,
    `--set=tls-client-key-path=${remote.files.key}`,
    `--set=tls-ca-path=${remote.files.ca}`,
    ...[REMOTE, url],
  ]);
}

interface DeltaOptions extends Omit<Through, 'refs' | 'pointed'> {
  commit: string;
  delta: NonNullable<DownloadPlan['delta']>;
}

/**
 * Fetches the files of a delta, each going on where it was, and applies them. The commit is marked as partial before, so
 * that the pull that follows looks whether all of it is there. A delta that does not apply is no reason to stop.
 */
async function applyDelta(place: FetchPlace, o: DeltaOptions): Promise<void> {
  const signal = o.signal ?? new AbortController().signal;
  const folder = join(place.scratch, `delta-${o.delta.from.slice(0, 16)}-${o.commit.slice(0, 16)}`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const { name, bytes } of o.delta.files) {
    const path = join(folder, name);
    const from = (await stat(path).catch(() => null))?.size ?? 0;
    if (from === bytes) continue;
    const file = await open(path, from > bytes ? 'w' : 'a');
    try {
      const status = await download(o.source, `/${o.delta.folder}/${name}`, {
        throttle: o.throttle,
        signal,
        from: from > bytes ? 0 : from,
        async write(chunk) {
          o.count.onBytes(chunk.length);
          await file.write(chunk);
        },
      });
      // It was there a moment ago; the objects are there, too.
      if (status !== 200) return await rm(folder, { recursive: true, force: true });
      await file.sync();
    } finally {
      await file.close();
    }
    o.count.onFile(name);
  }
  await markPartial(place.repo, o.commit);
  await ostree(['static-delta', 'apply-offline', `--repo=${place.repo}`, folder], signal).catch((error: unknown) => {
    if (signal.aborted) throw error;
  });
  await rm(folder, { recursive: true, force: true });
}

/** Files of deltas that nobody goes on with. */
export async function forgetDeltas(scratch: string): Promise<void> {
  await rm(scratch, { recursive: true, force: true });
}

/** Lets the next pull look at all of a commit, whatever is there of it. */
export function markPartial(repo: string, commit: string): Promise<void> {
  return writeFileDurably(join(repo, 'state', `${commit}.commitpartial`), '');
}
