import { lstat, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  checkout,
  createRepo,
  type DownloadSize,
  downloadSize,
  OstreeError,
  pull,
  type Repo,
  readCommit,
  syncFolder,
  type Tree,
  writeFileDurably,
} from '@treeline/ostree';
import type { BoardSystem } from '../../difference/difference.ts';
import { AgentError, messageOf, systemCode } from '../../errors.ts';
import type { BoardStatus, Checkpoint, Deployer, Deployment, PullOptions, PullReport } from '../deployer.ts';
import { removeTree, syncTree } from '../disk.ts';
import type { Remote } from '../remote.ts';
import {
  BOOT_TRIES,
  boot,
  clearTries,
  ordered,
  powerOff,
  readBooted,
  readBootOrder,
  writeBootOrder,
} from './boot-loader.ts';
import { listCommitted } from './committed.ts';
import { mergeEtc } from './etc-merge.ts';
import { deploymentName, type Layout, layoutOf, parseDeploymentName, sameDeployment } from './layout.ts';
import { pruneRepo } from './prune.ts';
import { isDamage, prepareRepair } from './repair.ts';

export interface VirtualBoardOptions {
  /** The folder that plays sysroot; made if missing. */
  root: string;
  remote: Remote;
  checkpoint?: Checkpoint | undefined;
}

/**
 * A board that is a folder: deployments side by side, a boot order, a boot loader that counts, /etc merged and /var
 * kept. It needs no root and no kernel, so an update can be seen (and cut off at every step) on any machine.
 *
 * Files belong to whoever runs the agent, and set-user-id bits are not set: a folder of somebody's home is no place
 * for them.
 */
export function createVirtualBoard(o: VirtualBoardOptions): Deployer {
  const layout = layoutOf(o.root);
  const checkpoint = o.checkpoint ?? (() => {});

  return {
    kind: 'virtual-board',
    async powerOn() {
      await mkdir(layout.deploy, { recursive: true });
      await mkdir(layout.var, { recursive: true });
      if ((await readBooted(layout)) === null) await boot(layout, checkpoint);
    },
    status: () => status(layout),
    async plan(commit, options) {
      const unknown = { objects: null, bytes: null, unpacked: null, delta: null };
      if (options.at !== null) return unknown;
      const { deployments } = await status(layout);
      const held = [...new Set(deployments.map((deployment) => deployment.commit))].slice(0, 8);
      const size = await o.remote.size(commit, held, options.signal);
      if (size === null) return unknown;
      const { objects, bytes, unpacked, delta } = size;
      // The engine takes a delta where it is smaller, too.
      if (delta === null || delta.bytes >= bytes) return { objects, bytes, unpacked, delta: null };
      return { objects: delta.files.length + delta.fallbacks, bytes: delta.bytes, unpacked, delta };
    },

    // It is a folder among others: what is lacking shows when it is written.
    makeRoom: async () => {},

    async pull(commit, options) {
      try {
        return await pullCommit(layout, o.remote, commit, options);
      } catch (error) {
        if (!isDamage(error)) throw error;
        await prepareRepair(layout.repo, error);
        return pullCommit(layout, o.remote, commit, options);
      }
    },

    async stage(commit, options) {
      const { signal } = options;
      const { running, deployments } = await status(layout);
      const order = ordered(await readBootOrder(layout));
      const used = (deployment: Deployment) =>
        sameDeployment(deployment, running) || order.some((other) => sameDeployment(other, deployment));
      const same = deployments.filter((deployment) => deployment.commit === commit);
      if (same.some((deployment) => !used(deployment))) return;
      const deployment = { commit, serial: Math.max(-1, ...same.map((other) => other.serial)) + 1 };
      await removeLeftovers(layout);
      try {
        await layOut(layout, deployment, { signal, checkpoint });
      } catch (error) {
        if (!isDamage(error)) throw error;
        await prepareRepair(layout.repo, error);
        await pullCommit(layout, o.remote, commit, options);
        await removeLeftovers(layout);
        await layOut(layout, deployment, { signal, checkpoint });
      }
    },

    async activate(commit) {
      const { running, deployments } = await status(layout);
      const deployment = newest(deployments, commit);
      // Once it can be booted, its /etc is no longer taken apart.
      if (sameDeployment((await readBootOrder(layout))?.default ?? null, deployment)) return;
      const root = join(layout.deploy, deploymentName(deployment));
      // Merged at the last moment, so that what is changed on the board between staging and reboot is kept, too.
      const etc = join(root, 'etc');
      await removeTree(etc);
      await checkpoint('activate: merge etc');
      const before = running === null ? null : join(layout.deploy, deploymentName(running));
      await mergeEtc({
        shipped: join(root, 'usr/etc'),
        into: etc,
        before: before === null ? null : { shipped: join(before, 'usr/etc'), current: join(before, 'etc') },
      });
      await syncTree(etc);
      await checkpoint('activate: boot order');
      const tries = running === null ? null : BOOT_TRIES;
      await writeBootOrder(layout, { default: deployment, fallback: running, tries }, checkpoint);
    },

    async rollback(commit) {
      const { deployments } = await status(layout);
      const deployment = newest(deployments, commit);
      await writeBootOrder(layout, { default: deployment, fallback: null, tries: null }, checkpoint);
    },

    async reboot() {
      await powerOff(layout);
      await checkpoint('reboot: off');
      await boot(layout, checkpoint);
    },

    async markGood() {
      const order = await readBootOrder(layout);
      const running = (await readBooted(layout))?.deployment ?? null;
      if (order === null || !sameDeployment(order.default, running)) return;
      if (order.tries !== null) await clearTries(layout);
      await checkpoint('mark-good: clean');
      await keepOnly(layout, ordered(order), checkpoint);
    },

    async settle() {
      const running = (await readBooted(layout))?.deployment ?? null;
      const order = await readBootOrder(layout);
      if (running === null || order === null) return;
      if (!sameDeployment(order.default, running) || order.fallback !== null || order.tries !== null) {
        await writeBootOrder(layout, { default: running, fallback: null, tries: null }, checkpoint);
      }
      await checkpoint('settle: clean');
      await keepOnly(layout, [running], checkpoint);
    },

    // A folder has nobody who would reboot it when time is up.
    endTrial: async () => {},

    bootLoader: async () => 'none',

    async checks() {
      const { root } = await runningDeployment(layout);
      return { root, etc: join(root, 'etc'), var: layout.var, run: 'sandbox' };
    },

    async system() {
      const { root, commit } = await runningDeployment(layout);
      const committed: BoardSystem['committed'] = (path, how) => listCommitted(layout.repo, commit, { path, ...how });
      return { root, etc: join(root, 'etc'), deployment: root, exact: false, committed };
    },
  };
}

async function runningDeployment(layout: Layout): Promise<{ root: string; commit: string }> {
  const running = (await readBooted(layout))?.deployment ?? null;
  if (running === null) throw new AgentError('deploy-failed', 'no deployment runs on this board');
  return { root: join(layout.deploy, deploymentName(running)), commit: running.commit };
}

async function status(layout: Layout): Promise<BoardStatus> {
  const booted = await readBooted(layout);
  const order = await readBootOrder(layout);
  const first = ordered(order);
  const names = await readdir(layout.deploy).catch(() => []);
  const rest = names
    .map(parseDeploymentName)
    .filter((deployment) => deployment !== null)
    .filter((deployment) => !first.some((other) => sameDeployment(other, deployment)))
    .sort((a, b) => a.commit.localeCompare(b.commit) || a.serial - b.serial);
  const deployments = [...first, ...rest];
  return {
    bootId: booted?.bootId ?? 'off',
    booted: booted?.deployment?.commit ?? null,
    running: booted?.deployment ?? null,
    next: order?.default.commit ?? null,
    deployed: [...new Set(deployments.map((deployment) => deployment.commit))],
    deployments,
    exhausted: order?.tries === 0,
    counting: typeof order?.tries === 'number' && order.tries > 0,
  };
}

/** The latest deployment of a commit. */
function newest(deployments: readonly Deployment[], commit: string): Deployment {
  const found = deployments.filter((deployment) => deployment.commit === commit).sort((a, b) => b.serial - a.serial)[0];
  if (found === undefined) throw new AgentError('deploy-failed', `the board has no deployment of ${commit}`);
  return found;
}

async function pullCommit(
  layout: Layout,
  remote: Remote,
  commit: string,
  o: Pick<PullOptions, 'at' | 'signal' | 'onProgress'>,
): Promise<PullReport> {
  const repo = await createRepo(layout.repo, { mode: 'archive' });
  const source =
    o.at === null
      ? { url: `${remote.gateway}/ostree`, tls: remote.tls, headers: remote.headers() }
      : // A stranger: it learns neither who this is nor what it runs.
        { url: o.at.url };
  const stats = await pull(repo, {
    ...source,
    commits: [commit],
    ...(o.signal === undefined ? {} : { signal: o.signal }),
    onProgress: (progress) => o.onProgress?.({ objects: progress.objects, bytes: progress.bytes }),
  });
  const { tree } = await readCommit(repo, commit);
  const whole = sizeOf(repo, tree);
  const itself = await stat(join(layout.repo, 'objects', commit.slice(0, 2), `${commit.slice(2)}.commit`));
  return {
    objects: stats.metadataFetched + stats.contentFetched,
    bytes: stats.bytesTransferred,
    totalObjects: whole.totalObjects + 1,
    totalBytes: whole.totalBytes + itself.size,
  };
}

/** What is there of a tree that should be whole. Throws OstreeError `not-found` when it is not. */
function sizeOf(repo: Repo, tree: Tree): DownloadSize {
  try {
    return downloadSize(repo, null, tree);
  } catch (cause) {
    if (systemCode(cause) !== 'ENOENT') throw cause;
    throw new OstreeError('not-found', `${repo.path} lacks a part of ${tree.contents}: ${messageOf(cause)}`, { cause });
  }
}

/** Checks the tree out under a name that counts for nothing, and gives it its name when it is whole and on disk. */
async function layOut(
  layout: Layout,
  deployment: Deployment,
  o: { signal: AbortSignal | undefined; checkpoint: Checkpoint },
): Promise<void> {
  const name = deploymentName(deployment);
  const staging = join(layout.deploy, `${STAGING}${name}`);
  const repo = await createRepo(layout.repo, { mode: 'archive' });
  await o.checkpoint('stage: check out');
  try {
    const { tree } = await readCommit(repo, deployment.commit);
    await checkout(repo, tree, staging, { userMode: true, ...(o.signal === undefined ? {} : { signal: o.signal }) });
  } catch (error) {
    if (error instanceof OstreeError && error.code === 'unsupported') {
      throw new AgentError('release-unusable', `the release cannot be laid out: ${error.message}`, { cause: error });
    }
    throw error;
  }
  await checkBootable(staging);
  await o.checkpoint('stage: sync');
  await syncTree(staging);
  await o.checkpoint('stage: name');
  await rename(staging, join(layout.deploy, name));
  await syncFolder(layout.deploy);
}

const STAGING = '.staging-';

/** What libostree does with a tree that was not prepared: /etc becomes /usr/etc; having both is an error. */
async function checkBootable(root: string): Promise<void> {
  const there = async (path: string) => (await lstat(join(root, path)).catch(() => null)) !== null;
  if (!(await there('usr'))) {
    throw new AgentError('release-unusable', 'the release has no /usr: it is no system that can be booted', {
      hint: 'Publish a root file system to the channel that devices follow.',
    });
  }
  if (await there('etc')) {
    if (await there('usr/etc')) throw new AgentError('release-unusable', 'the release has both /etc and /usr/etc');
    await rename(join(root, 'etc'), join(root, 'usr/etc'));
  }
}

async function removeLeftovers(layout: Layout): Promise<void> {
  for (const name of await readdir(layout.deploy).catch(() => [])) {
    if (name.startsWith(STAGING)) await removeTree(join(layout.deploy, name));
  }
}

/** Removes all other deployments, and the objects that only they needed. */
async function keepOnly(layout: Layout, keep: readonly Deployment[], checkpoint: Checkpoint): Promise<void> {
  await removeLeftovers(layout);
  let removed = (await lstat(layout.pruning).catch(() => null)) !== null;
  for (const name of await readdir(layout.deploy)) {
    const deployment = parseDeploymentName(name);
    if (deployment === null || keep.some((kept) => sameDeployment(kept, deployment))) continue;
    // On disk before: a clean-up that is cut off is gone on with.
    if (!removed) await writeFileDurably(layout.pruning, '');
    removed = true;
    // Renamed first: half a tree must not look like a deployment.
    const doomed = join(layout.deploy, `${STAGING}${name}`);
    await rename(join(layout.deploy, name), doomed);
    await removeTree(doomed);
  }
  if (!removed) return;
  try {
    await pruneRepo(layout.repo, [...new Set(keep.map((deployment) => deployment.commit))], checkpoint);
  } catch (error) {
    // The space is won back next time; an object that is gone from the repository does not harm a deployment.
    if (!(error instanceof OstreeError) && systemCode(error) === undefined) throw error;
  }
  await rm(layout.pruning, { force: true });
}
