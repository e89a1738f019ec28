import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { access, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { writeFileDurably } from '@treeline/ostree/fs/durable.ts';
import { AgentError } from '../../errors.ts';
import type { BoardStatus, Checkpoint, Deployer, Elsewhere, PullOptions, PullReport } from '../deployer.ts';
import type { Remote } from '../remote.ts';
import { ostree } from './ostree-command.ts';
import { parsePullOutput, parseStatus, type SysrootDeployment } from './status.ts';

export interface OstreeSysrootOptions {
  /** `/` on a running OSTree system; another folder is a board that is not this machine. */
  sysroot: string;
  /** Name of the stateroot. */
  os: string;
  /** Where it is noted what a sysroot that is a folder "runs". */
  runDir: string;
  channel: string;
  remote: Remote;
  checkpoint?: Checkpoint | undefined;
}

const REMOTE = 'treeline';
/** There only while a developer's commit is fetched. */
const POINTED_REMOTE = 'treeline-pointed';
const REBOOT_LIMIT = 10 * 60_000;
/** Names the commit that is about to be deployed, so that no clean-up takes its objects. */
const STAGED_REF = 'treeline/staged';

/**
 * A board of libostree: pull, deployments, the merge of /etc and the boot order are `ostree`'s; needs root. Written for
 * 2022.7, which has neither `set-default` nor boot counting: going back removes what is ahead in the boot order, or
 * deploys the old commit anew where that runs.
 */
export function createOstreeSysroot(o: OstreeSysrootOptions): Deployer {
  const live = o.sysroot === '/';
  const repo = join(o.sysroot, 'ostree/repo');
  const bootedFile = join(o.runDir, 'booted.json');
  const checkpoint: Checkpoint = o.checkpoint ?? (() => {});
  const sysroot = `--sysroot=${o.sysroot}`;

  const list = async (): Promise<SysrootDeployment[]> =>
    parseStatus(await ostree(['admin', 'status', sysroot])).filter((deployment) => deployment.os === o.os);

  const readBooted = async (deployments: readonly SysrootDeployment[]) => {
    if (live) {
      const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
      return { bootId, running: deployments.find((deployment) => deployment.booted) ?? null };
    }
    const text = await readFile(bootedFile, 'utf8').catch(() => null);
    if (text === null) return null;
    const { bootId, commit, serial } = JSON.parse(text) as { bootId: string; commit: string | null; serial: number };
    return { bootId, running: commit === null ? null : { commit, serial } };
  };

  const status = async (): Promise<BoardStatus> => {
    const deployments = await list();
    const booted = await readBooted(deployments);
    const staged = await ostree(['rev-parse', `--repo=${repo}`, STAGED_REF]).then(
      (text) => [text.trim()],
      () => [],
    );
    return {
      bootId: booted?.bootId ?? 'off',
      booted: booted?.running?.commit ?? null,
      running: booted?.running ?? null,
      next: deployments[0]?.commit ?? null,
      deployed: [...new Set([...deployments.map((deployment) => deployment.commit), ...staged])],
      deployments,
      // Nothing is counted here: what runs instead of the default, somebody chose in the boot menu.
      exhausted: false,
    };
  };

  const deploy = (commit: string) => ostree(['admin', 'deploy', sysroot, `--os=${o.os}`, '--retain', commit]);

  /** Undeploys all that are not kept; the highest index first, so that the others keep theirs. */
  const undeployExcept = async (keep: (deployment: SysrootDeployment) => boolean) => {
    for (const deployment of (await list()).reverse()) {
      if (keep(deployment) || deployment.booted || deployment.pinned) continue;
      await checkpoint('undeploy');
      await ostree(['admin', 'undeploy', sysroot, `${deployment.index}`]);
    }
  };

  const turnOn = async () => {
    const first = (await list())[0];
    const booted = { bootId: randomUUID(), commit: first?.commit ?? null, serial: first?.serial ?? 0 };
    await writeFileDurably(bootedFile, JSON.stringify(booted));
  };

  return {
    kind: 'ostree-sysroot',
    async powerOn() {
      if (live) return;
      if (!(await exists(join(o.sysroot, 'ostree/repo/config')))) {
        await mkdir(o.sysroot, { recursive: true });
        await ostree(['admin', 'init-fs', '--modern', o.sysroot]);
        // A folder has no boot loader whose configuration could be written; the loader entries are.
        await ostree(['config', `--repo=${repo}`, 'set', 'sysroot.bootloader', 'none']);
      }
      if (!(await exists(join(o.sysroot, 'ostree/deploy', o.os)))) await ostree(['admin', 'os-init', sysroot, o.os]);
      if ((await readBooted([])) === null) await turnOn();
    },

    status,

    async pull(commit, options: PullOptions): Promise<PullReport> {
      const output = await (options.at === null
        ? pullFromGateway(repo, o.remote, `${options.channel}@${commit}`, options.signal)
        : pullFromElsewhere(repo, options.at, commit, options.signal)
      ).catch((error: unknown) => {
        // Published under another name than it was made for: no retry changes that.
        if (error instanceof AgentError && error.message.includes('ref binding')) {
          throw new AgentError('release-unusable', error.message, { cause: error });
        }
        throw error;
      });
      const fetched = parsePullOutput(output);
      options.onProgress?.(fetched);
      return { ...fetched, totalObjects: await countObjects(repo, commit), totalBytes: null };
    },

    async stage(commit) {
      await checkKernel(repo, commit);
      await checkpoint('stage: ref');
      await ostree(['refs', `--repo=${repo}`, '--force', `--create=${STAGED_REF}`, commit]);
    },

    async activate(commit) {
      if ((await list())[0]?.commit === commit) return;
      await checkpoint('activate: deploy');
      await deploy(commit);
    },

    async rollback(commit) {
      const deployments = await list();
      const wanted = deployments.find((deployment) => deployment.commit === commit);
      const ahead = deployments.filter((deployment) => wanted !== undefined && deployment.index < wanted.index);
      if (wanted === undefined || ahead.some((deployment) => deployment.booted)) {
        await deploy(commit);
        return;
      }
      await undeployExcept((deployment) => !ahead.some((other) => other.index === deployment.index));
    },

    async reboot(signal) {
      if (live) {
        await promisify(execFile)('systemctl', ['reboot']);
        // The system ends this process now. Waiting on would only hold the shutdown up.
        await sleep(REBOOT_LIMIT, undefined, signal === undefined ? {} : { signal });
        throw new AgentError('deploy-failed', 'the system did not reboot when it was told to');
      }
      await rm(bootedFile, { force: true });
      await checkpoint('reboot: off');
      await turnOn();
    },

    async markGood() {
      const { running } = await status();
      const deployments = await list();
      const fallback = deployments.find((deployment) => !same(deployment, running));
      await undeployExcept((deployment) => same(deployment, running) || deployment.index === fallback?.index);
    },

    async settle() {
      const { running } = await status();
      if (running === null) return;
      await undeployExcept((deployment) => same(deployment, running));
    },

    async checks() {
      if (live) return { root: '/', etc: '/etc', var: '/var', run: 'host' };
      const { running } = await status();
      if (running === null) throw new AgentError('deploy-failed', 'no deployment runs on this board');
      const stateroot = join(o.sysroot, 'ostree/deploy', o.os);
      const root = join(stateroot, 'deploy', `${running.commit}.${running.serial}`);
      return { root, etc: join(root, 'etc'), var: join(stateroot, 'var'), run: 'sandbox' };
    },
  };
}

function same(deployment: SysrootDeployment, other: { commit: string; serial: number } | null): boolean {
  return other !== null && deployment.commit === other.commit && deployment.serial === other.serial;
}

async function pullFromGateway(
  repo: string,
  remote: Remote,
  refspec: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  await setRemote(repo, remote);
  const headers = Object.entries(remote.headers()).map(([name, value]) => `--http-header=${name}=${value}`);
  return ostree(['pull', `--repo=${repo}`, ...headers, REMOTE, refspec], signal);
}

/**
 * Pulls a commit from the repository of a developer, by its checksum alone: that takes the place of signatures, and the
 * ref that it is bound to does not matter. The remote goes again: nothing else is to be fetched from there.
 */
async function pullFromElsewhere(
  repo: string,
  { url }: Elsewhere,
  commit: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const forget = () => ostree(['remote', 'delete', `--repo=${repo}`, '--if-exists', POINTED_REMOTE]);
  // One that was left behind by a process that was killed may name another address.
  await forget();
  await ostree(['remote', 'add', `--repo=${repo}`, '--no-sign-verify', '--no-gpg-verify', POINTED_REMOTE, url]);
  try {
    return await ostree(['pull', `--repo=${repo}`, POINTED_REMOTE, commit], signal);
  } finally {
    await forget();
  }
}

/** Points the remote at the gateway with the board's certificate: mutual TLS takes the place of signatures. */
async function setRemote(repo: string, remote: Remote): Promise<void> {
  await ostree(['remote', 'delete', `--repo=${repo}`, '--if-exists', REMOTE]);
  await ostree([
    'remote',
    'add',
    `--repo=${repo}`,
    '--no-gpg-verify',
    `--set=tls-client-cert-path=${remote.files.cert}`,
    `--set=tls-client-key-path=${remote.files.key}`,
    `--set=tls-ca-path=${remote.files.ca}`,
    REMOTE,
    `${remote.gateway}/ostree`,
  ]);
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

/** Number of different objects of a commit: files, dirtrees and dirmetas, and the commit. */
async function countObjects(repo: string, commit: string): Promise<number> {
  const listing = await ostree(['ls', `--repo=${repo}`, '-R', '-C', commit, '/']);
  return new Set(listing.match(/\b[0-9a-f]{64}\b/g) ?? []).size + 1;
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
