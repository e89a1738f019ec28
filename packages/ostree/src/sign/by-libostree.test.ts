// Signatures by libostree itself. Debian's is built without ed25519, so they are kept here; ed25519 has no chance in it, so
// that what Treeline signs with the same key has to be the same, byte by byte.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { verifyDelta } from '../delta/verify.ts';
import { objectPath } from '../repo/objects.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { scratchFolder } from '../testing/scratch.ts';
import {
  COMMIT,
  COMMIT_METADATA,
  SIGNED_SUPERBLOCK,
  SUMMARY,
  SUMMARY_SIGNATURES,
} from '../testing/signed-by-libostree.ts';
import { decodeSignatures, signaturesOf } from './remote-verification.ts';
import { signCommit, signSummary } from './sign.ts';
import { signatureType } from './signature-type.ts';
import { ed25519Signer } from './signer.ts';

const SEED = '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb';
const PUBLIC = '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c';
/** That of test 1. */
const OTHER = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a';
const signer = ed25519Signer(Buffer.from(SEED + PUBLIC, 'hex').toString('base64'));
const checksum = createHash('sha256').update(COMMIT).digest('hex');
const said = `ed25519: Signature verified successfully with key '${PUBLIC}'`;

const verifierOf = (key: string) =>
  signatureType('ed25519').verifier({ inline: [Buffer.from(key, 'hex').toString('base64')] });

async function repoWith(t: TestContext): Promise<Repo> {
  const repo = await createRepo(join(scratchFolder(t), 'repo'));
  const path = objectPath(repo, 'commit', checksum);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, COMMIT);
  writeFileSync(join(repo.path, 'summary'), SUMMARY);
  return repo;
}

test('what libostree has signed is good, for this key and with these bytes only', async () => {
  const [good, foreign] = [await verifierOf(PUBLIC), await verifierOf(OTHER)];
  for (const [data, file] of [
    [COMMIT, COMMIT_METADATA],
    [SUMMARY, SUMMARY_SIGNATURES],
  ] as const) {
    const signatures = signaturesOf(decodeSignatures(file), 'ostree.sign.ed25519')!;
    assert.equal(await good.verify(data, signatures), said);
    await assert.rejects(async () => foreign.verify(data, signatures), { code: 'signature' });
    for (let at = 0; at < data.length; at++) {
      const changed = Buffer.from(data);
      changed[at]! ^= 1 << (at % 8);
      await assert.rejects(async () => good.verify(changed, signatures), { code: 'signature' });
    }
  }
});

test('the delta that libostree has signed is good, and not when a bit of it is another', async (t) => {
  const repo = await repoWith(t);
  const file = join(repo.path, 'superblock');
  writeFileSync(file, SIGNED_SUPERBLOCK);
  const good = await verifierOf(PUBLIC);
  assert.equal(await verifyDelta(repo, file, good), said);
  await assert.rejects(verifyDelta(repo, file, await verifierOf(OTHER)), { code: 'signature' });
  for (let at = 0; at < SIGNED_SUPERBLOCK.length; at += 7) {
    const changed = Buffer.from(SIGNED_SUPERBLOCK);
    changed[at]! ^= 1 << (at % 8);
    writeFileSync(file, changed);
    await assert.rejects(verifyDelta(repo, file, good), `byte ${at}`);
  }
});

test('Treeline writes the very files that libostree writes', async (t) => {
  const repo = await repoWith(t);
  await signCommit(repo, checksum, [signer]);
  assert.deepEqual(readFileSync(objectPath(repo, 'commitmeta', checksum)), COMMIT_METADATA);
  await signSummary(repo, [signer]);
  assert.deepEqual(readFileSync(join(repo.path, 'summary.sig')), SUMMARY_SIGNATURES);
});
