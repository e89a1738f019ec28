import { join } from 'node:path';
import type { Deployment } from '../deployer.ts';

/**
 * The folder that plays sysroot:
 *
 * ```
 * repo/                     archive repository
 * deploy/<commit>.<serial>/ a deployment: the tree, with /etc beside its /usr/etc
 * var/                      /var of all deployments
 * boot -> boot.<n>          the boot loader's configuration, swapped as a whole
 * boot.<n>/default, fallback    links to deployments
 * boot.<n>/tries            boots left before the fallback is taken; no file: nothing is counted
 * pruning                   there while deployments and then objects are removed, to be gone on with
 * run/booted                plays /run: which deployment runs, since which boot; gone when the power is
 * ```
 */
export interface Layout {
  root: string;
  repo: string;
  deploy: string;
  var: string;
  boot: string;
  run: string;
  pruning: string;
}

export function layoutOf(root: string): Layout {
  return {
    root,
    repo: join(root, 'repo'),
    deploy: join(root, 'deploy'),
    var: join(root, 'var'),
    boot: join(root, 'boot'),
    run: join(root, 'run'),
    pruning: join(root, 'pruning'),
  };
}

export function deploymentName(deployment: Deployment): string {
  return `${deployment.commit}.${deployment.serial}`;
}

/** The deployment that a folder's name stands for, or null for any other name. */
export function parseDeploymentName(name: string): Deployment | null {
  const match = /^([0-9a-f]{64})\.(\d{1,9})$/.exec(name);
  return match === null ? null : { commit: match[1] ?? '', serial: Number(match[2]) };
}

export function sameDeployment(a: Deployment | null, b: Deployment | null): boolean {
  return a !== null && b !== null && a.commit === b.commit && a.serial === b.serial;
}
