import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, readlink, rename, rm, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { syncFolder, writeFileDurably } from '@treeline/ostree';
import { z } from 'zod';
import { AgentError, systemCode } from '../../errors.ts';
import type { Checkpoint, Deployment } from '../deployer.ts';
import { deploymentName, type Layout, parseDeploymentName, sameDeployment } from './layout.ts';

/** Boots in which a new deployment may fail to prove good. */
export const BOOT_TRIES = 3;

/** What the boot loader is set to. */
export interface BootOrder {
  default: Deployment;
  fallback: Deployment | null;
  /** Boots left before the fallback is taken; null: the default proved good. */
  tries: number | null;
}

const Booted = z.object({ bootId: z.string(), deployment: z.string().nullable(), host: z.string() });

export interface Booted {
  bootId: string;
  deployment: Deployment | null;
}

/** The boot order, or null on a board that has never been set to boot anything. */
export async function readBootOrder(layout: Layout): Promise<BootOrder | null> {
  const standard = await readDeploymentLink(join(layout.boot, 'default'));
  if (standard === null) return null;
  return {
    default: standard,
    fallback: await readDeploymentLink(join(layout.boot, 'fallback')),
    tries: await readTries(layout),
  };
}

/** Sets the boot order as a whole: a power cut leaves the old one or the new one. */
export async function writeBootOrder(layout: Layout, order: BootOrder, checkpoint: Checkpoint): Promise<void> {
  const current = await readLink(layout.boot);
  const generation = Number(/^boot\.(\d+)$/.exec(current ?? '')?.[1] ?? -1) + 1;
  const folder = join(layout.root, `boot.${generation}`);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await symlink(join('..', 'deploy', deploymentName(order.default)), join(folder, 'default'));
  if (order.fallback !== null) {
    await symlink(join('..', 'deploy', deploymentName(order.fallback)), join(folder, 'fallback'));
  }
  await checkpoint('boot-order: count');
  if (order.tries !== null) await writeFileDurably(join(folder, 'tries'), `${order.tries}\n`);
  await syncFolder(folder);
  await checkpoint('boot-order: swap');
  const temporary = join(layout.root, '.boot.new');
  await rm(temporary, { force: true });
  await symlink(basename(folder), temporary);
  await rename(temporary, layout.boot);
  await syncFolder(layout.root);
  await checkpoint('boot-order: clean');
  for (const name of await readdir(layout.root)) {
    if (/^boot\.\d+$/.test(name) && name !== basename(folder)) {
      await rm(join(layout.root, name), { recursive: true, force: true });
    }
  }
}

/** Takes the count away: the default proved good. */
export async function clearTries(layout: Layout): Promise<void> {
  await rm(join(layout.boot, 'tries'), { force: true });
  if ((await readLink(layout.boot)) !== null) await syncFolder(layout.boot);
}

/**
 * What runs now; null when the board is off. `run/` plays a RAM disk: it counts only for this boot of the machine that
 * the board lives on.
 */
export async function readBooted(layout: Layout): Promise<Booted | null> {
  let text: string;
  try {
    text = await readFile(join(layout.run, 'booted'), 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return null;
  }
  const parsed = Booted.safeParse(json);
  if (!parsed.success || parsed.data.host !== (await hostBootId())) return null;
  const { bootId, deployment } = parsed.data;
  return { bootId, deployment: deployment === null ? null : parseDeploymentName(deployment) };
}

/** Power off: everything in /run is gone. */
export async function powerOff(layout: Layout): Promise<void> {
  await rm(layout.run, { recursive: true, force: true });
}

/**
 * The boot loader's part, as GRUB and U-Boot do it: while a count is there, take one off *before* booting; at zero,
 * boot the fallback. What it chose is in `run/booted`. A deployment without a /usr cannot come up: the board panics,
 * and the next boot counts again.
 */
export async function boot(layout: Layout, checkpoint: Checkpoint): Promise<Booted> {
  const order = await readBootOrder(layout);
  let chosen: Deployment | null = order?.default ?? null;
  // At most: all tries of the default, then the fallback.
  for (let i = 0; order !== null && i < BOOT_TRIES + 2; i++) {
    const tries = await readTries(layout);
    const fall = tries === 0 && order.fallback !== null;
    chosen = fall ? order.fallback : order.default;
    if (tries !== null && tries > 0) await writeFileDurably(join(layout.boot, 'tries'), `${tries - 1}\n`);
    await checkpoint('boot: start');
    if (chosen !== null && (await comesUp(layout, chosen))) break;
    if (tries === null || fall || order.fallback === null) {
      throw new AgentError(
        'deploy-failed',
        `the board does not come up: ${deploymentName(order.default)} cannot boot`,
        {
          hint: 'The deployment was damaged from outside. Make the board anew.',
        },
      );
    }
  }
  const booted: Booted = { bootId: randomUUID(), deployment: chosen };
  await writeFileDurably(
    join(layout.run, 'booted'),
    JSON.stringify({
      bootId: booted.bootId,
      deployment: chosen === null ? null : deploymentName(chosen),
      host: await hostBootId(),
    }),
  );
  return booted;
}

/** Deployments that the boot order names. */
export function ordered(order: BootOrder | null): Deployment[] {
  if (order === null) return [];
  const { fallback } = order;
  return fallback === null || sameDeployment(fallback, order.default) ? [order.default] : [order.default, fallback];
}

async function comesUp(layout: Layout, deployment: Deployment): Promise<boolean> {
  const entries = await readdir(join(layout.deploy, deploymentName(deployment), 'usr')).catch(() => []);
  return entries.length > 0;
}

async function readTries(layout: Layout): Promise<number | null> {
  const text = await readFile(join(layout.boot, 'tries'), 'utf8').catch(() => null);
  if (text === null) return null;
  const tries = Number.parseInt(text, 10);
  return Number.isInteger(tries) && tries >= 0 ? tries : 0;
}

async function readDeploymentLink(path: string): Promise<Deployment | null> {
  const target = await readLink(path);
  return target === null ? null : parseDeploymentName(basename(target));
}

async function readLink(path: string): Promise<string | null> {
  try {
    return await readlink(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'EINVAL') return null;
    throw error;
  }
}

function hostBootId(): Promise<string> {
  return readFile('/proc/sys/kernel/random/boot_id', 'utf8').then(
    (text) => text.trim(),
    () => 'unknown',
  );
}
