import { access, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type BootLoader, rememberTries } from '../../boot-loader/boot-loader.ts';
import { entryDeployment, readEntries } from '../../boot-loader/entries.ts';
import { folderPartition, mountedPartition } from '../../boot-loader/esp.ts';
import { openBootLoader } from '../../boot-loader/open-boot-loader.ts';
import type { BoardSystem } from '../../difference/difference.ts';
import { AgentError } from '../../errors.ts';
import type { BoardStatus, Checkpoint, Deployer, Deployment, DownloadPlan, PullReport } from '../deployer.ts';
import type { Remote } from '../remote.ts';
import { listCommitted } from './committed.ts';
import { type FetchPlace, fetchCommit, forgetDeltas } from './fetch.ts';
import { createMachine, type Machine } from './machine.ts';
import { ostree, supportsSetDefault } from './ostree-command.ts';
import { verifyCommit } from './repair.ts';
import { lackingBootRoom, lackingRoom, noSpace } from './room.ts';
import { deploymentOf, parseStatus, type SysrootDeployment, same } from './status.ts';

export interface OstreeSysrootOptions {
  /** `/` on a running OSTree system; another folder is a board that is not this machine. */
  sysroot: string;
  /** Name of the stateroot. */
  os: string;
  /** Folder of the agent's own files. */
  agentDir: string;
  remote: Remote;
  /** Whether objects on disk are checked before a release is built on them. Default true. */
  verify?: (() => boolean) | undefined;
  onWarning?: ((message: string) => void) | undefined;
  checkpoint?: Checkpoint | undefined;
}

/** Names the commit that is about to be deployed, so that no clean-up takes its objects. */
const STAGED_REF = 'treeline/staged';

/**
 * A board of libostree: pull, deployments, the merge of /etc and the boot order are `ostree`'s; needs root. Works with
 * 2022.7, which has neither `set-default` nor boot counting, and with newer ones.
 *
 * Going back never needs the boot order to change where the boot loader counts: its count is used up, it boots the
 * second entry, and what runs then is the deployment that ran before, with its /etc as it was.
 */
export function createOstreeSysroot(o: OstreeSysrootOptions): Deployer {
  const repo = join(o.sysroot, 'ostree/repo');
  const boot = join(o.sysroot, 'boot');
  const checkpoint: Checkpoint = o.checkpoint ?? (() => {});
  const sysroot = `--sysroot=${o.sysroot}`;
  const place: FetchPlace = { repo, remote: o.remote, scratch: join(o.agentDir, 'deltas') };
  const stateroot = join(o.sysroot, 'ostree/deploy', o.os);
  let loader: BootLoader | null = null;

  const list = async (): Promise<SysrootDeployment[]> =>
    parseStatus(await ostree(['admin', 'status', sysroot])).filter((deployment) => deployment.os === o.os);
  const rootOf = ({ commit, serial }: Deployment) => join(stateroot, 'deploy', `${commit}.${serial}`);

  /** The boot loader that the board's system is made for. One that has no system yet has none. */
  const bootLoader = async (): Promise<BootLoader> => {
    if (loader !== null) return loader;
    const [first] = await list();
    const found = await openBootLoader({
      root: machine.live ? '/' : first === undefined ? o.sysroot : rootOf(first),
      boot,
      partition: (source) =>
        machine.live ? mountedPartition(source, '/run/treeline/esp') : folderPartition(join(o.agentDir, 'esp')),
    });
    const opened = rememberTries(found);
    if (machine.live || first !== undefined) loader = opened;
    return opened;
  };

  const machine: Machine = createMachine({
    sysroot: o.sysroot,
    agentDir: o.agentDir,
    list,
    loaderKind: async () => (await bootLoader()).kind,
    checkpoint,
  });

  const status = async (): Promise<BoardStatus> => {
    const deployments = await list();
    const booted = await machine.booted(deployments);
    const staged = await ostree(['rev-parse', `--repo=${repo}`, STAGED_REF]).then(
      (text) => [text.trim()],
      () => [],
    );
    const tries = await (await bootLoader()).tries();
    return {
      bootId: booted?.bootId ?? 'off',
      booted: booted?.running?.commit ?? null,
      running: booted?.running ?? null,
      next: deployments[0]?.commit ?? null,
      deployed: [...new Set([...deployments.map((deployment) => deployment.commit), ...staged])],
      deployments,
      exhausted: tries === 0,
      counting: tries !== null && tries > 0,
    };
  };

  const runningNow = async (): Promise<Deployment> => {
    const found = (await status()).running;
    if (found === null) throw new AgentError('deploy-failed', 'no deployment runs on this board');
    return found;
  };

  /** Entries of what may be booted, for a boot loader that has to be told; the rest stays on disk until the next update. */
  const publish = async (keep: (deployment: Deployment) => boolean) => {
    const known = await bootLoader();
    if (known.readsOstree) return;
    const entries = [];
    for (const entry of await readEntries(boot)) {
      const deployment = deploymentOf((await entryDeployment(o.sysroot, entry)) ?? '');
      if (deployment !== null && keep(deployment)) entries.push(entry);
    }
    await known.publish(entries);
  };

  const deploy = async (commit: string) => {
    const { readsOstree } = await bootLoader();
    // What is staged is finished when the system goes down: until then nothing that can be booted changes. A folder does
    // not go down, and knows no deployment that runs, so nothing is to be left out there.
    const how = machine.live ? (readsOstree ? ['--stage'] : ['--no-prune']) : ['--retain'];
    await ostree(['admin', 'deploy', sysroot, `--os=${o.os}`, ...how, commit]);
  };

  /** Undeploys all that are not kept; the highest index first, so that the others keep theirs. */
  const undeployExcept = async (keep: (deployment: SysrootDeployment) => boolean) => {
    // Entries elsewhere name a boot order that would be gone.
    if (!(await bootLoader()).readsOstree) return;
    for (const deployment of (await list()).reverse()) {
      if (keep(deployment) || deployment.booted || deployment.pinned) continue;
      await checkpoint('undeploy');
      await ostree(['admin', 'undeploy', sysroot, `${deployment.index}`]);
    }
  };

  return {
    kind: 'ostree-sysroot',

    async powerOn() {
      if (machine.live) return;
      if (!(await isThere(join(repo, 'config')))) {
        await mkdir(o.sysroot, { recursive: true });
        await ostree(['admin', 'init-fs', '--modern', o.sysroot]);
        // A folder has no boot loader whose configuration could be written; the loader entries are.
        await ostree(['config', `--repo=${repo}`, 'set', 'sysroot.bootloader', 'none']);
      }
      if (!(await isThere(stateroot))) await ostree(['admin', 'os-init', sysroot, o.os]);
      await machine.powerOn();
    },

    status,

    async plan(commit, options): Promise<DownloadPlan> {
      if (await isWhole(repo, commit)) return { objects: 0, bytes: 0, unpacked: 0, delta: null };
      if (options.at !== null) return { objects: null, bytes: null, unpacked: null, delta: null };
      const held: string[] = [];
      for (const one of new Set((await list()).map((deployment) => deployment.commit))) {
        if (await isWhole(repo, one)) held.push(one);
      }
      const size = await o.remote.size(commit, held.slice(0, 8), options.signal);
      if (size === null) return { objects: null, bytes: null, unpacked: null, delta: null };
      const { delta, objects, bytes, unpacked } = size;
      if (delta === null || delta.bytes >= bytes) return { objects, bytes, unpacked, delta: null };
      return { objects: delta.files.length + delta.fallbacks, bytes: delta.bytes, unpacked, delta };
    },

    async makeRoom(plan) {
      if ((await lackingRoom(repo, plan)) === null) return;
      const deployments = await list();
      const { running } = await status();
      const fallback = deployments.find((deployment) => !same(deployment, running));
      const kept = (deployment: SysrootDeployment) => same(deployment, running) || same(deployment, fallback ?? null);
      await undeployExcept(kept);
      await forgetDeltas(place.scratch);
      await ostree(['admin', 'cleanup', sysroot]);
      const lacking = await lackingRoom(repo, plan);
      if (lacking !== null) throw noSpace(lacking);
    },

    async pull(commit, options): Promise<PullReport> {
      const fetched = await fetchCommit(place, commit, options);
      // Counting what the whole has takes a slow board as long as fetching a small update.
      return { ...fetched, totalObjects: null, totalBytes: null };
    },

    async stage(commit, options) {
      await checkKernel(repo, commit);
      const deployed = (await list()).map((deployment) => deployment.commit);
      const lacking = await lackingBootRoom({ repo, boot, commit, deployed });
      if (lacking !== null) throw noSpace(lacking);
      await checkpoint('stage: ref');
      await ostree(['refs', `--repo=${repo}`, '--force', `--create=${STAGED_REF}`, commit]);
      await forgetDeltas(place.scratch);
      if (o.verify?.() === false) return;
      await checkpoint('stage: verify');
      const onRepair = (what: string) => o.onWarning?.(`damaged on disk, fetched again: ${what}`);
      await verifyCommit(place, commit, { ...options, others: deployed, onRepair });
    },

    async activate(commit) {
      const { running } = await status();
      // Counted before it can be booted. Booted by mistake meanwhile, the old deployment costs one of the tries.
      await checkpoint('activate: arm');
      const armed = running !== null && (await (await bootLoader()).arm());
      if (armed) await machine.markArmed();
      if ((await list())[0]?.commit !== commit) {
        await checkpoint('activate: deploy');
        await deploy(commit);
      }
      await checkpoint('activate: publish');
      await publish((deployment) => deployment.commit === commit || same(deployment, running));
      if (machine.live && !(await bootLoader()).readsOstree) await ostree(['admin', 'cleanup', sysroot]);
    },

    async rollback(commit) {
      const deployments = await list();
      const wanted = deployments.find((deployment) => deployment.commit === commit && !deployment.booted);
      const known = await bootLoader();
      // The second entry is what ran before: a boot loader that counts is told that the count has run out.
      if (wanted !== undefined && (wanted.index === 1 || !known.readsOstree) && (await known.giveUp())) return;
      if (wanted !== undefined && machine.live && (await supportsSetDefault())) {
        await ostree(['admin', 'set-default', sysroot, `${wanted.index}`]);
      } else {
        const ahead = deployments.filter((deployment) => wanted !== undefined && deployment.index < wanted.index);
        if (wanted === undefined || ahead.some((deployment) => deployment.booted)) await deploy(commit);
        else await undeployExcept((deployment) => !ahead.some((other) => other.index === deployment.index));
      }
      await known.proveGood();
    },

    async reboot(signal) {
      // What it counts changes now; what it is may, too.
      loader = null;
      await machine.reboot(signal);
    },

    async markGood() {
      const { running } = await status();
      const deployments = await list();
      const fallback = deployments.find((deployment) => !same(deployment, running)) ?? null;
      await (await bootLoader()).proveGood();
      await machine.markProved();
      await checkpoint('mark-good: clean');
      await undeployExcept((deployment) => same(deployment, running) || same(deployment, fallback));
    },

    async settle() {
      const { running } = await status();
      if (running === null) return;
      // First what is bad, then the count: as long as it is the first entry, it must not be booted.
      await undeployExcept((deployment) => same(deployment, running));
      await checkpoint('settle: publish');
      await publish((deployment) => same(deployment, running));
      await (await bootLoader()).proveGood();
      await machine.markProved();
    },

    endTrial: () => machine.markProved(),

    bootLoader: async () => (await bootLoader()).kind,

    async checks() {
      if (machine.live) return { root: '/', etc: '/etc', var: '/var', run: 'host' };
      const root = rootOf(await runningNow());
      return { root, etc: join(root, 'etc'), var: join(stateroot, 'var'), run: 'sandbox' };
    },

    async system() {
      const deployed = await runningNow();
      const deployment = rootOf(deployed);
      const root = machine.live ? '/' : deployment;
      const committed: BoardSystem['committed'] = (path, how) => listCommitted(repo, deployed.commit, { path, ...how });
      return { root, etc: join(root, 'etc'), deployment, exact: true, committed };
    },
  };
}

/** Whether a commit and all that it needs are in the repository, as libostree sees it. */
async function isWhole(repo: string, commit: string): Promise<boolean> {
  const object = join(repo, 'objects', commit.slice(0, 2), `${commit.slice(2)}.commit`);
  return (await isThere(object)) && !(await isThere(join(repo, 'state', `${commit}.commitpartial`)));
}

/** Deploying a tree without a kernel fails half-way in; asked before, it is a clear word about the release. */
async function checkKernel(repo: string, commit: string): Promise<void> {
  const modules = await ostree(['ls', `--repo=${repo}`, '-R', commit, '/usr/lib/modules']).catch(() => '');
  if (/^-.* \/usr\/lib\/modules\/[^/]+\/vmlinuz/m.test(modules)) return;
  const old = await ostree(['ls', `--repo=${repo}`, commit, '/usr/lib/ostree-boot']).catch(() => '');
  if (old !== '') return;
  throw new AgentError('release-unusable', 'the release has no kernel (/usr/lib/modules/<version>/vmlinuz)', {
    hint: 'A board with a boot loader needs a whole system; publish one to the channel that it follows.',
  });
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
