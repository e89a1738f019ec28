import assert from 'node:assert/strict';
import { execFileSync, type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const bin = fileURLToPath(new URL('../../bin/treeline.js', import.meta.url));

interface Bench {
  folder: string;
  ours(...args: string[]): SpawnSyncReturns<string>;
  /** What ours prints, after checking that it succeeded. */
  output(...args: string[]): string;
  /** What ours says when it fails. */
  refused(...args: string[]): string;
  theirs(...args: string[]): string;
}

/** A repository with a folder to commit, and both programs. */
function bench(t: TestContext): Bench {
  const folder = mkdtempSync(join(tmpdir(), 'ts-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const env = { ...process.env, OSTREE_REPO: join(folder, 'repo'), OSTREE_DUMMY_SIGN_ENABLED: '1', TZ: 'UTC' };
  const options = { encoding: 'utf8', env, cwd: folder } as const;
  const ours = (...args: string[]) => spawnSync(process.execPath, [bin, 'repo', ...args], options);
  mkdirSync(join(folder, 'files'));
  writeFileSync(join(folder, 'files/a'), 'a');
  const made: Bench = {
    folder,
    ours,
    output(...args) {
      const { status, stdout, stderr } = ours(...args);
      assert.equal(status, 0, `treeline repo ${args.join(' ')}\n${stderr}`);
      return stdout;
    },
    refused(...args) {
      const { status, stderr } = ours(...args);
      assert.equal(status, 1, `treeline repo ${args.join(' ')}`);
      return stderr;
    },
    theirs: (...args) => execFileSync('ostree', args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] }),
  };
  made.theirs('init', '--repo=repo', '--mode=archive');
  return made;
}

function keyPair(): { secret: string; seed: string; publicKey: string } {
  const { d, x } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const [seed, pub] = [Buffer.from(d!, 'base64url'), Buffer.from(x!, 'base64url')];
  return {
    seed: seed.toString('hex'),
    secret: Buffer.concat([seed, pub]).toString('base64'),
    publicKey: pub.toString('base64'),
  };
}

test('a commit is signed, verified and unsigned with ed25519 keys of every origin', (t) => {
  const { folder, output, refused } = bench(t);
  const [key, other] = [keyPair(), keyPair()];
  const files = join(folder, 'files');
  const commit = output('commit', '-b', 'main', `--sign=${key.secret}`, `--tree=dir=${files}`).trim();
  const good = `ed25519: Signature verified successfully with key '${Buffer.from(key.publicKey, 'base64').toString('hex')}'\n`;
  assert.equal(output('sign', '--verify', 'main', other.publicKey, key.publicKey), good);
  assert.match(refused('sign', '--verify', commit, other.publicKey), /^error: No valid signatures found$/m);
  assert.match(refused('sign', '--verify', commit, 'AAAA'), /No valid signatures found/);
  mkdirSync(join(folder, 'keys/revoked.ed25519.d'), { recursive: true });
  writeFileSync(join(folder, 'keys/trusted.ed25519'), `${other.publicKey}\n${key.publicKey}\n`);
  assert.equal(output('sign', '--verify', '--keys-dir=keys', 'main'), good);
  assert.equal(output('sign', '--verify', '--keys-file=keys/trusted.ed25519', 'main'), good);
  writeFileSync(join(folder, 'keys/revoked.ed25519.d/leaked'), key.publicKey);
  assert.match(refused('sign', '--verify', '--keys-dir=keys', 'main'), /couldn't be verified with/);
  writeFileSync(join(folder, 'secret'), `${other.secret}\n`);
  output('sign', '--keys-file=secret', 'main');
  output('sign', '--verify', 'main', other.publicKey);
  assert.equal(output('sign', '--delete', 'main', key.publicKey), 'Signatures deleted: 1\n');
  assert.match(refused('sign', '--verify', 'main', key.publicKey), /No valid signatures found/);
  output('sign', '--verify', 'main', other.publicKey);
  assert.match(refused('sign', 'main', 'AAAA'), /Invalid ed25519 secret key: .*expected 64 bytes/);
  assert.match(refused('sign', 'main'), /Need at least one KEY-ID to sign with/);
  assert.match(refused('sign', '--sign-type=magic', 'main', 'x'), /Requested signature type is not implemented/);
});

test('a program signs commits and the summary', (t) => {
  const { folder, output, refused } = bench(t);
  const { seed, publicKey } = keyPair();
  const key = join(folder, 'key.der');
  writeFileSync(key, Buffer.from(`302e020100300506032b657004220420${seed}`, 'hex'));
  const command = `cat > data.tmp && openssl pkeyutl -sign -rawin -keyform DER -inkey ${key} -in data.tmp`;
  output('commit', '-b', 'main', `--sign-command=${command}`, `--tree=dir=${join(folder, 'files')}`);
  output('sign', '--verify', 'main', publicKey);
  output('summary', '-u', `--sign-command=${command}`);
  const settings = ['gpg-verify=false', 'sign-verify-summary=ed25519', `verification-ed25519-key=${publicKey}`];
  const url = `file://${folder}/repo`;
  output('init', '--repo=client', '--mode=archive');
  output('remote', 'add', '--repo=client', ...settings.map((one) => `--set=${one}`), 'origin', url);
  output('pull', '--repo=client', 'origin', 'main');
  const before = output('refs');
  assert.match(
    refused('commit', '-b', 'other', '--sign-command=exit 7', `--tree=dir=${join(folder, 'files')}`),
    /\/bin\/sh: ended with exit code 7/,
  );
  // What cannot be signed is not published either.
  assert.equal(output('refs'), before);
});

test('GPG signatures are made, shown and deleted as by ostree', (t) => {
  const { folder, output, refused, theirs } = bench(t);
  const home = mkdtempSync(join(tmpdir(), 'tg-'));
  t.after(() => {
    execFileSync('gpgconf', ['--homedir', home, '--kill', 'all']);
    rmSync(home, { recursive: true, force: true });
  });
  const gpg = (...args: string[]) =>
    execFileSync('gpg', ['--homedir', home, '--batch', '--quiet', '--passphrase', '', ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  gpg('--quick-generate-key', 'Ann <ann@example.com>', 'ed25519', 'sign', 'never');
  writeFileSync(join(folder, 'ann.asc'), gpg('--armor', '--export'));
  const keyId = /^pub:[^:]*:[^:]*:[^:]*:([0-9A-F]{16})/m.exec(gpg('--with-colons', '--list-keys'))![1]!;
  const sign = ['--gpg-sign=ann@example.com', `--gpg-homedir=${home}`];
  output('commit', '-b', 'main', ...sign, `--tree=dir=${join(folder, 'files')}`);
  output('remote', 'add', 'origin', 'http://localhost:1/');
  assert.match(theirs('show', 'main'), /Can't check signature: public key not found/);
  assert.equal(output('show', 'main'), theirs('show', 'main'));
  assert.equal(
    output('remote', 'gpg-import', '--keyring=ann.asc', 'origin'),
    'Imported 1 GPG key to remote "origin"\n',
  );
  assert.match(theirs('show', 'main'), /Good signature from "Ann <ann@example.com>"/);
  assert.equal(output('show', 'main'), theirs('show', 'main'));
  assert.equal(
    output('show', '--gpg-verify-remote=origin', 'main'),
    theirs('show', '--gpg-verify-remote=origin', 'main'),
  );
  assert.equal(output('remote', 'gpg-list-keys', 'origin'), theirs('remote', 'gpg-list-keys', 'origin'));
  assert.match(refused('gpg-sign', `--gpg-homedir=${home}`, 'main', keyId), /Commit is already signed with GPG key/);
  assert.equal(output('gpg-sign', '--delete', 'main', keyId), 'Signatures deleted: 1\n');
  assert.doesNotMatch(output('show', 'main'), /Found/);
  output('gpg-sign', `--gpg-homedir=${home}`, 'main', keyId);
  output('summary', '-u', ...sign);
  theirs('init', '--repo=client', '--mode=archive');
  const url = `file://${folder}/repo`;
  theirs('remote', 'add', '--repo=client', '--set=gpg-verify-summary=true', '--gpg-import=ann.asc', 'origin', url);
  theirs('pull', '--repo=client', 'origin', 'main');
  writeFileSync(join(folder, 'repo/summary.sig'), readFileSync(join(folder, 'repo/summary')));
  assert.match(refused('remote', 'summary', '--repo=client', 'origin'), /no signatures found/);
});
