// Treeline's `repo` and a libostree that has ed25519, on each other's repositories. Skipped unless TREELINE_OSTREE_ED25519
// names the folder that scripts/ostree-ed25519.sh has made.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { newEd25519Key } from './testing/ed25519-key.ts';
import { ed25519Client, type Outcome } from './testing/ostree-client.ts';
import { expectGood, expectRefused } from './testing/outcomes.ts';
import { scratchFolder } from './testing/scratch.ts';
import { treeline } from './testing/treeline-server.ts';

const prefix = process.env.TREELINE_OSTREE_ED25519;
const skip = prefix === undefined && 'TREELINE_OSTREE_ED25519 is not set';

test('each verifies what the other signs: commits, summaries and deltas', { skip }, async (t) => {
  const folder = scratchFolder(t);
  const client = ed25519Client(prefix!);
  const { secretKey, publicKey } = newEd25519Key();
  const foreign = newEd25519Key().publicKey;
  const theirs = (...args: string[]) => client.ostree(folder, ...args);
  const ours = (...args: string[]) => treeline(['repo', ...args]) as Promise<Outcome>;
  const tree = join(folder, 'tree');
  mkdirSync(join(tree, 'usr'), { recursive: true });
  for (const [name, sign, verify] of [
    ['ours', ours, theirs],
    ['theirs', theirs, ours],
  ] as const) {
    const repo = `--repo=${join(folder, name)}`;
    await expectGood(sign('init', repo, '--mode=archive'));
    const commit = async (subject: string) => {
      writeFileSync(join(tree, 'usr/changing'), subject);
      return expectGood(sign('commit', repo, '-b', 'main', '-s', subject, `--sign=${secretKey}`, tree));
    };
    const [first, second] = [await commit('1'), await commit('2')];
    const delta = [`--from=${first}`, `--to=${second}`, '--sign-type=ed25519', `--sign=${secretKey}`];
    await expectGood(sign('static-delta', 'generate', repo, ...delta));
    await expectGood(sign('summary', repo, '-u', `--sign=${secretKey}`));

    await expectGood(verify('sign', repo, '--verify', second, publicKey));
    await expectRefused(verify('sign', repo, '--verify', second, foreign), /No valid signatures found/);
    const check = ['static-delta', 'verify', repo, '--sign-type=ed25519', `${first}-${second}`];
    assert.match(await expectGood(verify(...check, publicKey)), /Verification OK/);
    await expectRefused(verify(...check, foreign), /Verification fails/);
    for (const [key, good] of [
      [publicKey, true],
      [foreign, false],
    ] as const) {
      const there = `--repo=${join(folder, `${name}-${good}`)}`;
      await expectGood(verify('init', there, '--mode=bare-user'));
      const set = ['gpg-verify=false', 'sign-verify=true', 'sign-verify-summary=true'].map((one) => `--set=${one}`);
      const trust = `--set=verification-ed25519-key=${key}`;
      await expectGood(verify('remote', 'add', there, ...set, trust, 'origin', `file://${join(folder, name)}`));
      const pulled = verify('pull', there, 'origin', 'main');
      if (good) await expectGood(pulled);
      else await expectRefused(pulled, /Signature couldn't be verified/);
    }
    // A second signature beside the first, by the other program.
    const more = newEd25519Key();
    await expectGood(verify('sign', repo, second, more.secretKey));
    for (const key of [publicKey, more.publicKey]) await expectGood(sign('sign', repo, '--verify', second, key));
  }
  execFileSync('ostree', [`--repo=${join(folder, 'ours')}`, 'fsck', '--quiet']);
});
