import type { Deployment } from '../deployer.ts';

export interface SysrootDeployment extends Deployment {
  /** Position in the boot order, and the argument of `ostree admin undeploy`. */
  index: number;
  os: string;
  /** Runs now; only known on the system itself. */
  booted: boolean;
  /** Somebody asked libostree to keep it. */
  pinned: boolean;
  /** Waits to be written into the boot order at shutdown. */
  staged: boolean;
}

/**
 * The deployments in the output of `ostree admin status`, in boot order. Indented lines below a deployment (origin,
 * version, signatures) are for people; `ot-admin-builtin-status.c` prints the others as `[*| ] <os> <checksum>.<serial>`
 * with notes in brackets.
 */
export function parseStatus(text: string): SysrootDeployment[] {
  const deployments: SysrootDeployment[] = [];
  for (const line of text.split('\n')) {
    const match = /^([* ]) (\S+) ([0-9a-f]{64})\.(\d+)((?: \([^)]*\))*)\s*$/.exec(line);
    const last = deployments.at(-1);
    if (match === null) {
      if (last !== undefined && /^\s+Pinned: yes/.test(line)) last.pinned = true;
      continue;
    }
    deployments.push({
      index: deployments.length,
      booted: match[1] === '*',
      os: match[2] ?? '',
      commit: match[3] ?? '',
      serial: Number(match[4]),
      pinned: (match[5] ?? '').includes('(pinned)'),
      staged: (match[5] ?? '').includes('(staged)'),
    });
  }
  return deployments;
}

/** A deployment by the name of its folder, `<commit>.<serial>`; null for another name. */
export function deploymentOf(name: string): Deployment | null {
  const match = /^([0-9a-f]{64})\.(\d+)$/.exec(name);
  return match === null ? null : { commit: match[1] ?? '', serial: Number(match[2]) };
}

export function same(deployment: Deployment, other: Deployment | null): boolean {
  return other !== null && deployment.commit === other.commit && deployment.serial === other.serial;
}
