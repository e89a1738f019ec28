import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { writeCommit } from '../commit/write-commit.ts';
import { pull } from '../pull/pull.ts';
import { remoteOptions } from '../pull/remote-config.ts';
import { hasObject, objectPath } from '../repo/objects.ts';
import { readRef } from '../repo/refs.ts';
import { addRemote } from '../repo/remotes.ts';
import { createRepo, openRepo, type Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { updateSummary } from '../summary/update.ts';
import { plainFiles, startServer } from '../testing/http.ts';
import { scratchFolder } from '../testing/scratch.ts';
import { signCommit } from './sign.ts';
import { ed25519Signer, type Signer } from './signer.ts';

interface Fixture {
  source: Repo;
  /** Commits to `main`, unsigned, on top of what it was. */
  commit(subject: string): Promise<string>;
  signer: Signer;
  /** A new client whose remote demands signatures. Pulls `main` and returns what it is now. */
  client(settings?: Record<string, string>): Promise<Client>;
}

interface Client {
  repo: Repo;
  pull(depth?: number): Promise<string>;
  configure(settings: Record<string, string>): Promise<void>;
}

async function fixture(t: TestContext, way: 'http' | 'file'): Promise<Fixture> {
  const folder = scratchFolder(t);
  const source = await createRepo(join(folder, 'source'));
  const { d, x } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const publicKey = Buffer.from(x!, 'base64url');
  const signer = ed25519Signer(Buffer.concat([Buffer.from(d!, 'base64url'), publicKey]).toString('base64'));
  const url = way === 'http' ? await startServer(t, plainFiles(source.path)) : `file://${source.path}`;
  let clients = 0;
  return {
    source,
    signer,
    commit: (subject) =>
      withTransaction(source, async (tx) => {
        const made = await writeCommit(tx, {
          tree: tx.emptyTree(),
          subject,
          parent: await readRef(source, 'main'),
          timestamp: 1_700_000_000,
        });
        tx.setRef('main', made);
        return made;
      }),
    async client(settings = {}) {
      const path = join(folder, `client-${clients++}`);
      let repo = await createRepo(path);
      const configure = async (more: Record<string, string>) => {
        const keys = {
          url,
          'gpg-verify': 'false',
          'sign-verify': 'ed25519',
          'verification-ed25519-key': publicKey.toString('base64'),
          ...more,
        };
        await addRemote(repo, 'origin', new Map(Object.entries(keys)), { replace: true });
        repo = await openRepo(path);
      };
      await configure(settings);
      return {
        repo,
        configure,
        async pull(depth = 0) {
          const configured = await remoteOptions(repo, 'origin');
          const stats = await pull(repo, { ...configured, remote: 'origin', refs: ['main'], depth });
          assert.equal(await readRef(repo, 'origin:main'), stats.commits.get('main'));
          return stats.commits.get('main')!;
        },
      };
    },
  };
}

for (const way of ['http', 'file'] as const) {
  test(`a pull by ${way} takes nothing that nobody trusted has signed`, async (t) => {
    const { source, commit, signer, client } = await fixture(t, way);
    const signed = await commit('signed');
    await signCommit(source, signed, [signer]);
    const device = await client();
    assert.equal(await device.pull(), signed);

    const refused = async (one: Client, message: RegExp, depth?: number) => {
      const before = await readRef(one.repo, 'origin:main');
      await assert.rejects(one.pull(depth), { code: 'signature', message });
      assert.equal(await readRef(one.repo, 'origin:main'), before);
    };
    const unsigned = await commit('unsigned');
    await refused(device, /Can't verify commit/);
    assert.ok(!hasObject(device.repo, 'commit', unsigned), 'nothing of it is kept');

    // Somebody else's signature, and that of another commit.
    const { d, x } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
    const stranger = Buffer.concat([Buffer.from(d!, 'base64url'), Buffer.from(x!, 'base64url')]).toString('base64');
    await signCommit(source, unsigned, [ed25519Signer(stranger)]);
    await refused(device, /couldn't be verified with: key/);
    copyFileSync(objectPath(source, 'commitmeta', signed), objectPath(source, 'commitmeta', unsigned));
    await refused(device, /couldn't be verified with: key/);

    // What came when nothing was demanded is not good enough later.
    const careless = await client({ 'sign-verify': 'false' });
    assert.equal(await careless.pull(), unsigned);
    await careless.configure({});
    await refused(careless, /couldn't be verified with: key/);

    // A signed head does not vouch for what comes before it.
    const head = await commit('head');
    await signCommit(source, head, [signer]);
    assert.equal(await device.pull(), head);
    await refused(await client(), /couldn't be verified with: key/, -1);
    rmSync(objectPath(source, 'commitmeta', unsigned));
    await signCommit(source, unsigned, [signer]);
    assert.equal(await (await client()).pull(-1), head);
  });

  test(`a pull by ${way} believes only a summary that is signed`, async (t) => {
    const { source, commit, signer, client } = await fixture(t, way);
    const first = await commit('first');
    await updateSummary(source, { signers: [signer] });
    const settings = { 'sign-verify': 'false', 'sign-verify-summary': 'ed25519' };
    const device = await client(settings);
    assert.equal(await device.pull(), first);
    // The server moves the ref without the key.
    await commit('second');
    await updateSummary(source);
    await assert.rejects(device.pull(), { message: /no summary.sig found|no summary signatures found/ });
    copyFileSync(join(source.path, 'summary'), join(source.path, 'summary.sig'));
    await assert.rejects(device.pull(), { code: 'signature', message: /No signatures found/ });
    rmSync(join(source.path, 'summary.sig'));
    rmSync(join(source.path, 'summary'));
    await assert.rejects(device.pull(), /no summary found/);
    assert.equal(await readRef(device.repo, 'origin:main'), first);
  });
}
