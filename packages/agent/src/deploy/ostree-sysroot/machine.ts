import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { writeFileDurably } from '@treeline/ostree/fs/durable.ts';
import type { BootLoaderKind } from '../../boot-loader/boot-loader.ts';
import { entryDeployment } from '../../boot-loader/entries.ts';
import { playBoot } from '../../boot-loader/play.ts';
import { AgentError } from '../../errors.ts';
import type { Checkpoint, Deployment } from '../deployer.ts';
import { deploymentOf, type SysrootDeployment } from './status.ts';

/** What boots a sysroot: this machine itself, or, where the sysroot is a folder, something that plays one. */
export interface Machine {
  /** The sysroot is the one that this machine runs from. */
  readonly live: boolean;
  /** The boot that goes on, and what runs in it; null when the board is off. */
  booted(deployments: readonly SysrootDeployment[]): Promise<{ bootId: string; running: Deployment | null } | null>;
  /** Boots a folder that is off. */
  powerOn(): Promise<void>;
  /** Resolves when a folder is up again; on a machine it rejects, at the latest when the system ends this process. */
  reboot(signal?: AbortSignal): Promise<void>;
  /** The next boots are an update's, and have to prove good in time: see `treeline-boot-deadline`. */
  markArmed(): Promise<void>;
  /** This boot has proved good, or is not to be judged. */
  markProved(): Promise<void>;
}

export interface MachineOptions {
  sysroot: string;
  agentDir: string;
  list(): Promise<SysrootDeployment[]>;
  loaderKind(): Promise<BootLoaderKind>;
  checkpoint: Checkpoint;
}

const REBOOT_LIMIT = 10 * 60_000;
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

export function createMachine(o: MachineOptions): Machine {
  const live = o.sysroot === '/';
  const bootedFile = join(o.agentDir, 'booted.json');
  const armedFile = join(o.agentDir, '../armed');
  const provedFile = live ? '/run/treeline/proved-good' : join(o.agentDir, 'proved-good');
  const readBooted = async () => {
    const text = await readFile(bootedFile, 'utf8').catch(() => null);
    return text === null ? null : (JSON.parse(text) as { bootId: string; commit: string | null; serial: number });
  };

  const turnOn = async () => {
    const deployments = await o.list();
    const played = await playBoot(await o.loaderKind(), join(o.agentDir, 'esp'));
    const named = 'options' in played ? deploymentOf((await entryDeployment(o.sysroot, played)) ?? '') : null;
    const chosen = named ?? deployments['entry' in played ? played.entry : 0] ?? deployments[0];
    const booted = { bootId: randomUUID(), commit: chosen?.commit ?? null, serial: chosen?.serial ?? 0 };
    await writeFileDurably(bootedFile, JSON.stringify(booted));
  };

  return {
    live,
    async booted(deployments) {
      if (live) {
        const bootId = (await readFile(BOOT_ID, 'utf8')).trim();
        return { bootId, running: deployments.find((deployment) => deployment.booted) ?? null };
      }
      const booted = await readBooted();
      if (booted === null) return null;
      const { bootId, commit, serial } = booted;
      return { bootId, running: commit === null ? null : { commit, serial } };
    },
    async powerOn() {
      if ((await readBooted()) === null) await turnOn();
    },
    async reboot(signal) {
      if (!live) {
        await rm(bootedFile, { force: true });
        await o.checkpoint('reboot: off');
        return turnOn();
      }
      await promisify(execFile)('systemctl', ['reboot']);
      // The system ends this process now. Waiting on would only hold the shutdown up.
      await sleep(REBOOT_LIMIT, undefined, signal === undefined ? {} : { signal });
      throw new AgentError('deploy-failed', 'the system did not reboot when it was told to');
    },
    async markArmed() {
      const booted = live ? (await readFile(BOOT_ID, 'utf8')).trim() : ((await readBooted())?.bootId ?? '');
      await writeFileDurably(armedFile, `${booted}\n`);
    },
    async markProved() {
      await rm(armedFile, { force: true });
      await rm(`${armedFile}.reboots`, { force: true });
      if (live) await mkdir('/run/treeline', { recursive: true });
      await writeFile(provedFile, '');
    },
  };
}
