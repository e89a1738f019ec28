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

/** Objects and bytes in `ostree pull`'s last line. Bytes are as precise as its "12.3 MB". */
export function parsePullOutput(text: string): { objects: number; bytes: number } {
  const fetched = /(\d+) metadata, (\d+) content objects fetched; ([\d.]+)[\s\u00a0]*([A-Za-z]+) transferred/.exec(
    text,
  );
  if (fetched === null) return { objects: 0, bytes: 0 };
  const unit = { B: 1, bytes: 1, byte: 1, kB: 1e3, KiB: 1024, MB: 1e6, MiB: 1024 ** 2, GB: 1e9, GiB: 1024 ** 3 }[
    fetched[4] ?? ''
  ];
  return {
    objects: Number(fetched[1]) + Number(fetched[2]),
    bytes: Math.round(Number(fetched[3]) * (unit ?? 1)),
  };
}
