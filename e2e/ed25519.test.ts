// ed25519, by a libostree that has it: Debian's are built without, so this is skipped unless TREELINE_OSTREE_ED25519 names
// the folder that scripts/ostree-ed25519.sh has made. What Treeline publishes it can pull, from wherever it is served; what
// is tampered with, unsigned or signed by somebody else is refused; keys can be changed under clients.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createRepo, push, withTransaction, writeCommit, writeFolder } from '@treeline/ostree';
import { newEd25519Key } from './testing/ed25519-key.ts';
import { type Nginx, startNginx } from './testing/nginx.ts';
import { ed25519Client, type OstreeClient, type Outcome } from './testing/ostree-client.ts';
import { eventually, expectGood, expectRefused } from './testing/outcomes.ts';
import { scratchFolder } from './testing/scratch.ts';
import { TreelineServer, treeline } from './testing/treeline-server.ts';

const prefix = process.env.TREELINE_OSTREE_ED25519;
const CHANNEL = 'robot/edge';
const cleanUp: (() => unknown)[] = [];
let client: OstreeClient;
let folder: string;
let server: TreelineServer;
let exported: string;
/** Public keys by name. */
const keys = new Map<string, string>();
/** Addresses of the repository, by what is there. */
const places = new Map<string, string>();
const commits: string[] = [];

async function cli(...args: string[]): Promise<string> {
  const { status, output } = await treeline([...args, '--data', server.data]);
  assert.equal(status, 0, `treeline ${args.join(' ')}: ${output}`);
  return output;
}

async function makeKey(name: string): Promise<string> {
  const made = JSON.parse(await cli('repository', 'new-key', name, '--json')) as { publicKey: string };
  keys.set(name, made.publicKey);
  return made.publicKey;
}

/** Pushes a version of the tree and publishes it. */
async function release(): Promise<string> {
  const [version, parent] = [commits.length + 1, commits.at(-1)];
  const tree = join(folder, 'tree');
  mkdirSync(join(tree, 'usr'), { recursive: true });
  for (let index = 0; index < 60; index++) {
    const text = index % 20 === 0 ? `file ${index} of version ${version}\n` : `file ${index}\n`;
    writeFileSync(join(tree, `usr/file-${index}`), text.repeat(100));
  }
  const repo = await createRepo(join(folder, 'developer'), { mode: 'archive' });
  const commit = await withTransaction(repo, async (tx) =>
    writeCommit(tx, { tree: await writeFolder(tx, tree), subject: `version ${version}`, ...(parent && { parent }) }),
  );
  const headers = { authorization: `Bearer ${server.token}` };
  await push(repo, `${server.url}/api/v1/push/`, { ref: 'dev/release', rev: commit, headers });
  const { state } = await server.post<{ state: string }>('/publish', { commit, channel: CHANNEL });
  assert.equal(state, 'published');
  commits.push(commit);
  return commit;
}

let count = 0;

/** A new repository of a client that trusts one key, for commits and summaries, and no GPG. */
async function newClient(url: string, key: string): Promise<(...args: string[]) => Promise<Outcome>> {
  const repo = join(folder, `client-${count++}`);
  const ostree = (...args: string[]) => client.ostree(folder, ...args, `--repo=${repo}`);
  await expectGood(ostree('init', '--mode=bare-user'));
  const settings = {
    'gpg-verify': 'false',
    'sign-verify': 'true',
    'sign-verify-summary': 'true',
    'verification-ed25519-key': key,
  };
  const set = Object.entries(settings).map(([name, value]) => `--set=${name}=${value}`);
  await expectGood(ostree('remote', 'add', ...set, 'origin', url));
  return ostree;
}

async function serveFolder(root: string): Promise<Nginx> {
  const http = `access_log off; server { listen 127.0.0.1:PORT; root ${root}; }`;
  const nginx = await startNginx(join(folder, `nginx-${count++}`), http);
  cleanUp.push(() => nginx.stop());
  return nginx;
}

describe('a libostree with ed25519', { skip: prefix === undefined && 'TREELINE_OSTREE_ED25519 is not set' }, () => {
  before(async () => {
    client = ed25519Client(prefix!);
    folder = scratchFolder({ after: (work: () => unknown) => void cleanUp.push(work) });
    server = new TreelineServer(join(folder, 'data'));
    cleanUp.push(() => server.kill());
    await server.start();
    await makeKey('release');
    await cli('repository', 'set', 'public', 'signing=ed25519:release');
    await release();
    await release();
    exported = join(folder, 'exported');
    await cli('export', 'public', exported);
    const made = await cli('nginx', 'cache', `${server.url}/repos/public`, '--cache', join(folder, 'cache'));
    const cache = await startNginx(
      join(folder, 'nginx-cache'),
      made.replace(/listen [^;]+;/, 'listen 127.0.0.1:PORT;'),
    );
    cleanUp.push(() => cache.stop());
    places.set('Treeline’s server', `${server.url}/repos/public`);
    places.set('nginx on the folder', (await serveFolder(join(server.data, 'repos/public'))).url);
    places.set('an nginx cache in front of Treeline', `${cache.url}/repos/public`);
    places.set('a static export', (await serveFolder(exported)).url);
  });

  after(async () => {
    for (const work of cleanUp.reverse()) await work();
  });

  const from = ['Treeline’s server', 'nginx on the folder', 'an nginx cache in front of Treeline', 'a static export'];
  for (const place of from) {
    test(`pulls from ${place}, and for nobody else's key`, async () => {
      const [url, key] = [places.get(place)!, keys.get('release')!];
      const [first, second] = commits as [string, string];
      const byRef = await newClient(url, key);
      await expectGood(byRef('pull', '--disable-static-deltas', 'origin', CHANNEL));
      assert.equal(await expectGood(byRef('rev-parse', `origin:${CHANNEL}`)), second);
      assert.match(await expectGood(byRef('sign', '--verify', second, key)), /Signature verified successfully/);
      await expectGood(byRef('fsck', '--quiet'));

      const byDelta = await newClient(url, key);
      await expectGood(byDelta('pull', 'origin', first));
      await expectGood(byDelta('pull', '--require-static-deltas', 'origin', CHANNEL));
      assert.equal(await expectGood(byDelta('rev-parse', `origin:${CHANNEL}`)), second);

      const stranger = await newClient(url, newEd25519Key().publicKey);
      await expectRefused(stranger('pull', 'origin', CHANNEL), /Signature couldn't be verified/);
      await expectGood(stranger('config', 'set', 'remote "origin".sign-verify-summary', 'false'));
      await expectRefused(stranger('pull', 'origin', second), /Signature couldn't be verified/);
    });
  }

  test('refuses what was tampered with or is not signed', async () => {
    const nginx = await serveFolder(join(folder, 'damaged'));
    const key = keys.get('release')!;
    const newest = commits.at(-1)!;
    const metadata = join('objects', newest.slice(0, 2), `${newest.slice(2)}.commitmeta`);
    const flip = (file: string, at: number) => {
      const data = readFileSync(file);
      data[at]! ^= 1;
      rmSync(file);
      writeFileSync(file, data);
    };
    // Where the 64 bytes of a signature begin: behind the key of the only entry, which GVariant pads to eight bytes.
    const begin = 'ostree.sign.ed25519'.length + 5;
    const damage: [string, (repo: string) => void, RegExp][] = [
      ['signature of the commit', (repo) => flip(join(repo, metadata), begin + 40), /couldn't be verified/],
      ['no signature of the commit', (repo) => rmSync(join(repo, metadata)), /no signatures|[Cc]an't verify/],
      [
        'signature of another commit',
        (repo) => {
          const other = commits[0]!;
          cpSync(join(repo, 'objects', other.slice(0, 2), `${other.slice(2)}.commitmeta`), join(repo, metadata));
        },
        /couldn't be verified/,
      ],
      ['signature of the summary', (repo) => flip(join(repo, 'summary.sig'), begin + 40), /couldn't be verified/],
      ['no signature of the summary', (repo) => rmSync(join(repo, 'summary.sig')), /no signatures|no summary/i],
      [
        'an older release in the summary',
        (repo) => {
          const summary = readFileSync(join(repo, 'summary'));
          const at = summary.indexOf(Buffer.from(newest, 'hex'));
          assert.ok(at > 0);
          Buffer.from(commits[0]!, 'hex').copy(summary, at);
          rmSync(join(repo, 'summary'));
          writeFileSync(join(repo, 'summary'), summary);
        },
        /couldn't be verified/,
      ],
    ];
    for (const [what, harm, why] of damage) {
      const name = what.replaceAll(' ', '-');
      const repo = join(folder, 'damaged', name);
      cpSync(exported, repo, { recursive: true });
      const whole = await newClient(`${nginx.url}/${name}`, key);
      await expectGood(whole('pull', 'origin', CHANNEL));
      harm(repo);
      const fresh = await newClient(`${nginx.url}/${name}`, key);
      await assert.doesNotReject(expectRefused(fresh('pull', 'origin', CHANNEL), why), what);
      await expectRefused(fresh('rev-parse', `origin:${CHANNEL}`), /not found/);
    }
  });

  test('takes a new summary with the signature that it fetched before, and the other way round', async () => {
    // A plain file server at its worst: between signature and summary each client waits almost as long as it may.
    const repo = join(server.data, 'repos/public');
    let [straddled, sentAt] = [0, 0];
    const slow = createServer((request, response) => {
      const path = join(repo, decodeURIComponent(request.url!.split('?')[0]!));
      const send = () => {
        if (!existsSync(path) || statSync(path).isDirectory()) return void response.writeHead(404).end();
        response.end(readFileSync(path));
      };
      const changed = () => statSync(join(repo, 'summary')).ctimeMs;
      if (request.url === '/summary.sig') sentAt = changed();
      if (request.url !== '/summary') return send();
      setTimeout(() => {
        if (changed() !== sentAt) straddled++;
        send();
      }, 1200);
    }).listen(0, '127.0.0.1');
    await once(slow, 'listening');
    cleanUp.push(() => void slow.close());
    const url = `http://127.0.0.1:${(slow.address() as AddressInfo).port}`;
    let publishing = true;
    const pulling = (async () => {
      const failures: string[] = [];
      for (let pulls = 0; publishing || pulls === 0; pulls++) {
        const fresh = await newClient(url, keys.get('release')!);
        const { status, output } = await fresh('pull', '--commit-metadata-only', 'origin', CHANNEL);
        if (status !== 0) failures.push(output);
      }
      return failures;
    })();
    for (let round = 0; round < 4; round++) await release();
    publishing = false;
    assert.deepEqual(await pulling, []);
    assert.ok(straddled > 0, 'no client asked for the one before and for the other after a change');
  });

  test('goes from one key to the next: while both sign, clients of either can pull', async () => {
    const url = places.get('nginx on the folder')!;
    const [old, next] = [keys.get('release')!, await makeKey('next')];
    await cli('repository', 'set', 'public', 'signing=ed25519:release,ed25519:next');
    // What is there already is signed anew.
    await eventually(async () => (await newClient(url, next))('pull', 'origin', CHANNEL));
    const isTakenByBoth = async () => {
      for (const key of [old, next]) {
        const one = await newClient(url, key);
        await expectGood(one('pull', 'origin', CHANNEL));
        assert.equal(await expectGood(one('rev-parse', `origin:${CHANNEL}`)), commits.at(-1));
        await expectGood(one('sign', '--verify', commits.at(-1)!, key));
      }
    };
    await isTakenByBoth();
    await release();
    await isTakenByBoth();
    // A client that is told both, one on each line, as during the change.
    writeFileSync(join(folder, 'both'), `${old}\n${next}\n`);
    const both = await newClient(url, old);
    await expectGood(both('config', 'unset', 'remote "origin".verification-ed25519-key'));
    await expectGood(both('config', 'set', 'remote "origin".verification-ed25519-file', join(folder, 'both')));
    await cli('repository', 'set', 'public', 'signing=ed25519:next');
    const last = await release();
    await eventually(async () => both('pull', 'origin', CHANNEL));
    assert.equal(await expectGood(both('rev-parse', `origin:${CHANNEL}`)), last);
    await expectGood((await newClient(url, next))('pull', 'origin', CHANNEL));
    // The summary has no signature by the old one as soon as that of the one before has gone.
    await sleep(3000);
    await expectRefused((await newClient(url, old))('pull', 'origin', CHANNEL), /couldn't be verified/);
  });
});
