import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

/** A home folder of GnuPG with keys of its own; its agent ends with the test. */
export interface GpgHome {
  path: string;
  /** Runs gpg in it. */
  gpg(...args: string[]): Buffer;
  /** Makes a signing key and returns its fingerprint. @param expires as `--quick-generate-key` takes it */
  newKey(user: string, expires?: string): string;
}

export function gpgHome(t: TestContext): GpgHome {
  // The agent's socket must have a short path.
  const path = mkdtempSync(join(tmpdir(), 'tg-'));
  chmodSync(path, 0o700);
  t.after(() => {
    execFileSync('gpgconf', ['--homedir', path, '--kill', 'all']);
    rmSync(path, { recursive: true, force: true });
  });
  const gpg = (...args: string[]): Buffer =>
    execFileSync('gpg', ['--homedir', path, '--batch', '--no-tty', '--quiet', '--yes', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  return {
    path,
    gpg,
    newKey(user, expires = 'never') {
      gpg('--passphrase', '', '--quick-generate-key', user, 'ed25519', 'sign', expires);
      const listing = gpg('--with-colons', '--list-keys', '--', `=${user}`).toString('utf8');
      return /^fpr:+([0-9A-F]{40}):/m.exec(listing)![1]!;
    },
  };
}
