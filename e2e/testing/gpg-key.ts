import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';

/**
 * Makes a GnuPG home with a key that needs no passphrase, and writes its public half to a file.
 *
 * @param o.cleanUp gets what ends the agent that gpg has started
 */
export function makeGpgKey(o: { home: string; user: string; publicKey: string; cleanUp: (() => unknown)[] }): void {
  const { home, user, publicKey } = o;
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const gpg = (...args: string[]) =>
    execFileSync('gpg', ['--homedir', home, '--batch', '--quiet', '--passphrase', '', ...args], { stdio: 'pipe' });
  o.cleanUp.push(() => execFileSync('gpgconf', ['--homedir', home, '--kill', 'all'], { stdio: 'ignore' }));
  gpg('--quick-generate-key', user, 'ed25519', 'sign', 'never');
  gpg('--armor', '--output', publicKey, '--export', user);
}
