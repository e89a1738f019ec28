import { readFile, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '../../errors.ts';
import { bytesInWords } from '../../words/amounts.ts';
import type { DownloadPlan } from '../deployer.ts';
import { ostree } from './ostree-command.ts';

/** Of a file, the last block is half full, and it has an inode. */
const PER_OBJECT = 2048 + 256;
/** What a system writes of its own while an update is on its way. */
const MARGIN = 16 * 1024 * 1024;
/** libostree's own reserve, where the repository does not say otherwise (`min-free-space-percent`). */
const RESERVE_PERCENT = 3;

/** Room that is lacking on a file system; null if there is enough. */
export interface Lacking {
  where: string;
  needed: number;
  free: number;
}

/** What a release would lack on the file system of the repository. */
export async function lackingRoom(repo: string, plan: DownloadPlan): Promise<Lacking | null> {
  if (plan.unpacked === null || plan.bytes === 0) return null;
  const files = (plan.objects ?? 0) * PER_OBJECT;
  // The files of a delta are there until it has been applied.
  const delta = plan.delta === null ? 0 : plan.delta.bytes;
  const { free, size } = await spaceOf(repo);
  const reserve = await reserveOf(repo, size);
  const needed = plan.unpacked + files + delta + Math.min(MARGIN, size / 50);
  return free - reserve >= needed ? null : { where: '/', needed, free: Math.max(0, free - reserve) };
}

/**
 * What the kernel of a commit would lack in the boot folder. OSTree keeps each pair of kernel and initramfs once, so what a
 * deployed commit has needs no more room.
 */
export async function lackingBootRoom(o: {
  repo: string;
  boot: string;
  commit: string;
  deployed: readonly string[];
}): Promise<Lacking | null> {
  const wanted = await bootFiles(o.repo, o.commit);
  const { free } = await spaceOf(o.boot);
  if (free >= wanted.bytes) return null;
  for (const other of o.deployed) {
    if ((await bootFiles(o.repo, other)).checksums === wanted.checksums) return null;
  }
  return { where: '/boot', needed: wanted.bytes, free };
}

/** What OSTree copies to the boot folder. A line of `ostree ls -C`: mode, owner, group, size, checksum, path. */
const BOOT_FILE =
  /^-\d+ +\d+ +\d+ +(\d+) ([0-9a-f]{64}) \/usr\/lib\/modules\/[^/]+\/(?:vmlinuz|initramfs\.img|devicetree|dtb\/.*)$/;

async function bootFiles(repo: string, commit: string): Promise<{ bytes: number; checksums: string }> {
  const listing = await ostree(['ls', `--repo=${repo}`, '-R', '-C', commit, '/usr/lib/modules']).catch(() => '');
  const found = { bytes: 0, checksums: '' };
  for (const line of listing.split('\n')) {
    const match = BOOT_FILE.exec(line);
    if (match === null) continue;
    found.bytes += Number(match[1]);
    found.checksums += `${match[2]} `;
  }
  return found;
}

export function noSpace({ where, needed, free }: Lacking): AgentError {
  return new AgentError(
    'no-space',
    `no space on ${where}: the release needs ${bytesInWords(needed)}, and ${bytesInWords(free)} are free`,
    { hint: 'Make room, or take a larger disk: what is neither running nor the fallback is gone already.' },
  );
}

async function spaceOf(path: string): Promise<{ free: number; size: number }> {
  const { bavail, bsize, blocks } = await statfs(path);
  return { free: bavail * bsize, size: blocks * bsize };
}

async function reserveOf(repo: string, size: number): Promise<number> {
  const config = await readFile(join(repo, 'config'), 'utf8').catch(() => '');
  const percent = /^min-free-space-percent=(\d+)$/m.exec(config)?.[1];
  const fixed = /^min-free-space-size=(\d+)([MGT])B$/m.exec(config);
  if (fixed !== null) return Number(fixed[1]) * 1024 ** { M: 2, G: 3, T: 4 }[fixed[2] as 'M' | 'G' | 'T'];
  return (size * Number(percent ?? RESERVE_PERCENT)) / 100;
}
