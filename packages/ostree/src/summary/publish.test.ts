import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { writeCommit } from '../commit/write-commit.ts';
import { decodeSummary } from '../formats/summary.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { serveRepository } from '../serve/server.ts';
import { decodeSignatures, signaturesOf } from '../sign/remote-verification.ts';
import { signatureType, type Verifier } from '../sign/signature-type.ts';
import { ed25519Signer, gpgSigner, type Signer } from '../sign/signer.ts';
import { ed25519Keys } from '../testing/ed25519-keys.ts';
import { gpgHome } from '../testing/gpg.ts';
import { ostree, ostreeMeanwhile, scratchFolder } from '../testing/scratch.ts';
import { publishSummary } from './publish.ts';
import { updateSummary } from './update.ts';

async function addRef(repo: Repo, ref: string): Promise<void> {
  await withTransaction(repo, async (tx) => {
    tx.setRef(ref, await writeCommit(tx, { tree: tx.emptyTree(), timestamp: 1, subject: ref }));
  });
}

async function ed25519(): Promise<{ signer: Signer; verifier: Verifier; secret: string }> {
  const { secret, publicKey } = ed25519Keys();
  const verifier = await signatureType('ed25519').verifier({ inline: [publicKey] });
  return { signer: ed25519Signer(secret), verifier, secret };
}

const read = (repo: Repo, name: string) => readFileSync(join(repo.path, name));

async function fits(verifier: Verifier, summary: Buffer, signature: Buffer): Promise<boolean> {
  try {
    await verifier.verify(summary, signaturesOf(decodeSignatures(signature), verifier.metadataKey) ?? []);
    return true;
  } catch {
    return false;
  }
}

/** What a repository looks like when nothing is under way in it. */
function assertSettled(repo: Repo): void {
  const left = readdirSync(repo.path).filter((name) => name.startsWith('.summary-'));
  assert.deepEqual(left, []);
  for (const name of ['summary', 'summary.sig']) {
    const found = lstatSync(join(repo.path, name), { throwIfNoEntry: false });
    assert.ok(!found || found.isFile(), name);
  }
}

const STEPS = [
  'announce',
  'begin',
  'link summary.sig',
  'link summary',
  'switch',
  'settle summary.sig',
  'settle summary',
  'tidy',
  'forget',
];

test('killed at any step, it leaves a summary and signatures that fit, GPG and ed25519', async (t) => {
  const base = scratchFolder(t);
  const home = gpgHome(t);
  const gpg = gpgSigner({ keyId: home.newKey('Ann <ann@example.com>'), homedir: home.path });
  const { signer, verifier } = await ed25519();
  const signers = [signer, gpg];
  const repo = await createRepo(join(base, 'repo'));
  const other = await createRepo(join(base, 'other'));
  const client = join(base, 'client');
  writeFileSync(join(base, 'keys.gpg'), home.gpg('--export'));
  ostree(`--repo=${client}`, 'init', '--mode=archive');
  const server = await serveRepository(repo.path);
  t.after(() => server.close());
  const keys = `--gpg-import=${join(base, 'keys.gpg')}`;
  ostree(`--repo=${client}`, 'remote', 'add', '--set=gpg-verify-summary=true', keys, 'origin', server.url);
  const killed = join(base, 'killed.ts');
  const module = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
  writeFileSync(
    killed,
    `import { readFileSync } from 'node:fs';
    import { openRepo } from ${module('../repo/repo.ts')};
    import { publishSummary } from ${module('./publish.ts')};
    const [path, summary, at] = process.argv.slice(2);
    const step = (name) => name === at && process.kill(process.pid, 'SIGKILL');
    const signatures = readFileSync(summary + '.sig');
    await publishSummary(await openRepo(path), readFileSync(summary), signatures, { grace: 0.01, step });`,
  );
  for (const step of STEPS) {
    await addRef(repo, 'main');
    await updateSummary(repo, { signers, now: 1000 });
    assertSettled(repo);
    await addRef(other, `other/${STEPS.indexOf(step)}`);
    await updateSummary(other, { signers, now: 2000 });
    const run = spawnSync(process.execPath, [killed, repo.path, join(other.path, 'summary'), step], {
      encoding: 'utf8',
    });
    assert.equal(run.signal, 'SIGKILL', `${step}: ${run.stderr}`);
    assert.ok(await fits(verifier, read(repo, 'summary'), read(repo, 'summary.sig')), step);
    const isNew = STEPS.indexOf(step) > STEPS.indexOf('switch');
    assert.equal(read(repo, 'summary').equals(read(other, 'summary')), isNew, step);
    rmSync(join(client, 'tmp/cache'), { recursive: true, force: true });
    const listed = await ostreeMeanwhile(`--repo=${client}`, 'remote', 'refs', 'origin');
    assert.equal(listed.includes('origin:other/'), isNew, step);
  }
  await updateSummary(repo, { signers });
  assertSettled(repo);
});

test('with a grace, what a client asked for before a step fits what it asks for after it', async (t) => {
  const repo = await createRepo(join(scratchFolder(t), 'repo'));
  const { signer, verifier } = await ed25519();
  await addRef(repo, 'one');
  await updateSummary(repo, { signers: [signer] });
  const seen: { step: string; summary: Buffer; signature: Buffer }[] = [];
  const note = (step: string) =>
    seen.push({ step, summary: read(repo, 'summary'), signature: read(repo, 'summary.sig') });
  const next = await createRepo(join(scratchFolder(t), 'next'));
  await addRef(next, 'two');
  await updateSummary(next, { signers: [signer] });
  const signatures = read(next, 'summary.sig');
  const publish = publishSummary(repo, read(next, 'summary'), signatures, { grace: 0.05, step: note });
  await publish;
  note('end');
  for (const [index, { step, signature, summary }] of seen.entries()) {
    const [before, after] = [seen[index - 1] ?? seen[0]!, seen[index + 1] ?? seen.at(-1)!];
    assert.ok(await fits(verifier, after.summary, signature), `${step}: then a newer summary`);
    assert.ok(await fits(verifier, before.summary, signature), `${step}: then an older one, of a cache`);
    assert.ok(await fits(verifier, summary, signature), step);
  }
  // Whoever has cached the old summary with a signature must see another signature once there is a new summary.
  const old = seen[0]!.summary;
  const [withOld, withNew] = [
    seen.filter(({ summary }) => summary.equals(old)),
    seen.filter((one) => !one.summary.equals(old)),
  ];
  assert.ok(withOld.length > 1 && withNew.length > 1);
  for (const one of withOld) for (const two of withNew) assert.ok(!one.signature.equals(two.signature));
  assert.deepEqual(read(repo, 'summary.sig'), signatures, 'in the end the old signatures are gone');
});

test('an update waits out its grace, says when it can be seen, and gives way when it is interrupted', async (t) => {
  const repo = await createRepo(join(scratchFolder(t), 'repo'));
  const { signer, verifier } = await ed25519();
  await addRef(repo, 'one');
  await updateSummary(repo, { signers: [signer], grace: 30 }); // the first one: there is nothing to wait for
  await addRef(repo, 'two');
  const began = performance.now();
  let visible = 0;
  const onVisible = () => {
    visible = performance.now() - began;
    assert.ok(decodeSummary(read(repo, 'summary')).refs.has('two'));
  };
  await updateSummary(repo, { signers: [signer], grace: 0.2, onVisible });
  assert.ok(visible >= 190 && performance.now() - began >= visible + 190);
  await addRef(repo, 'three');
  const before = read(repo, 'summary');
  const first = updateSummary(repo, { signers: [signer], grace: 30, signal: AbortSignal.timeout(100) });
  await assert.rejects(first, { name: 'AbortError' });
  assert.deepEqual(read(repo, 'summary'), before);
  assert.ok(await fits(verifier, before, read(repo, 'summary.sig')));
  // Interrupted when it can be seen, it is done: only the old signatures would have stayed for a while.
  const abort = new AbortController();
  await updateSummary(repo, { signers: [signer], grace: 0.5, signal: abort.signal, onVisible: () => abort.abort() });
  assert.ok(decodeSummary(read(repo, 'summary')).refs.has('three'));
  assert.equal(signaturesOf(decodeSignatures(read(repo, 'summary.sig')), 'ostree.sign.ed25519')?.length, 1);
  assertSettled(repo);
});

test('a repository becomes signed and unsigned again without a signature that does not fit', async (t) => {
  const repo = await createRepo(join(scratchFolder(t), 'repo'));
  const { signer, verifier } = await ed25519();
  await addRef(repo, 'one');
  await updateSummary(repo, { grace: 30 });
  assert.ok(!existsSync(join(repo.path, 'summary.sig')));
  await updateSummary(repo, { signers: [signer], grace: 30, now: 5000 });
  assert.ok(await fits(verifier, read(repo, 'summary'), read(repo, 'summary.sig')));
  await updateSummary(repo, { grace: 30, now: 9000 });
  assert.ok(!existsSync(join(repo.path, 'summary.sig')));
  assertSettled(repo);
});

test('many updates after one another leave no more signatures than one needs', async (t: TestContext) => {
  const repo = await createRepo(join(scratchFolder(t), 'repo'));
  const { signer, verifier } = await ed25519();
  for (let index = 0; index < 12; index++) {
    await addRef(repo, `ref-${index}`);
    const signal = AbortSignal.timeout(50);
    // Cut off in the first wait, so that the file with both signatures stays.
    await updateSummary(repo, { signers: [signer], grace: index === 0 ? 0 : 10, signal }).catch(() => {});
  }
  assert.ok(signaturesOf(decodeSignatures(read(repo, 'summary.sig')), 'ostree.sign.ed25519')!.length <= 16);
  await updateSummary(repo, { signers: [signer], grace: 0.01 });
  assert.ok(await fits(verifier, read(repo, 'summary'), read(repo, 'summary.sig')));
  assert.equal(signaturesOf(decodeSignatures(read(repo, 'summary.sig')), 'ostree.sign.ed25519')?.length, 1);
});
