import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  type AuditPage,
  loadSettings,
  type MadeToken,
  type RunningServer,
  startServer,
  type WhoAmI,
} from '@treeline/server';
import { treeline } from '../testing/command.ts';

// The real server: what is shown here must be what it says.

let folder = '';
let server: RunningServer;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'treeline-token-'));
  const hidden = { runner: false, pollSeconds: 3600, logLevel: 'silent', hostImage: 'test' } as const;
  server = await startServer(loadSettings({ dataDir: folder, port: 0, gatewayPort: 0, ...hidden }));
});
after(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

/** Runs a verb, as the admin unless a token is given. */
const call = (args: string[], token?: string) =>
  treeline(args, {
    env: token === undefined ? { TREELINE_DATA: folder } : { TREELINE_SERVER: server.url, TREELINE_TOKEN: token },
  });

async function create(args: string[], token?: string): Promise<MadeToken & { token: string }> {
  const { code, stdout, stderr } = await call(['token', 'create', ...args, '--json'], token);
  assert.deepEqual([code, stderr], [0, '']);
  return JSON.parse(stdout) as MadeToken & { token: string };
}

test('a token is made, shown once with how to use it, used, and revoked', async () => {
  const { code, stdout, stderr } = await call([
    'token',
    'create',
    'ci',
    '--role',
    'developer',
    '--on',
    'robot/**',
    '--expires',
    '30d',
  ]);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^may {3}read, run, push$/m);
  assert.match(stdout, /^on {4}robot\/\*\*$/m);
  assert.match(stdout, /shown only this once/);
  assert.match(stdout, new RegExp(`TREELINE_SERVER=${server.url} TREELINE_TOKEN=`));
  const [text] = /^tl_[0-9A-Za-z]{46}$/m.exec(stdout) ?? assert.fail(stdout);

  const who = JSON.parse((await call(['whoami', '--json'], text)).stdout) as WhoAmI;
  assert.deepEqual([who.name, who.actions, who.on], ['ci', ['read', 'run', 'push'], ['robot/**']]);
  assert.match((await call(['whoami'], text)).stdout, /^name {2}ci$[\s\S]*^from {2}127\.0\.0\.1$/m);
  assert.equal((await call(['projects'], text)).code, 2);
  assert.equal((await call(['project', 'list'], text)).code, 0);
  const refused = await call(['devices', 'remove', 'board'], text);
  assert.equal(refused.code, 4);
  assert.match(refused.stderr, /ci may not operate/);

  const shown = await call(['token', 'list']);
  assert.match(shown.stdout, new RegExp(`^${text.slice(3, 11)} +ci +read, run, push +robot/\\*\\* +20\\d\\d-`, 'm'));
  for (const { stdout: out } of [shown, await call(['token', 'show', 'ci']), await call(['audit'])]) {
    assert.ok(!out.includes(text.slice(11)), 'the secret is shown once');
  }

  assert.match((await call(['token', 'revoke', 'ci'])).stdout, /^ci is revoked\.$/m);
  const after = await call(['whoami'], text);
  assert.equal(after.code, 4);
  assert.match(after.stderr, /the token has been revoked/);
  assert.equal((await call(['token', 'revoke', 'ci'])).code, 5);
  assert.match((await call(['token', 'list', '--all'])).stdout, /ci .*revoked (?:now|\d+ s ago)/);
});

test('who has a token makes narrower ones, which end with it', async () => {
  const team = await create(['team', '--role', 'publisher', '--allow', 'force', '--on', 'robot/**']);
  const night = await create(['night', '--allow', 'push', '--on', 'robot/nightly'], team.token);
  assert.deepEqual(night.parent, { id: team.id, name: 'team' });
  const wide = await call(['token', 'create', 'wide', '--role', 'admin'], team.token);
  assert.equal(wide.code, 4);
  assert.match(wide.stderr, /which is not: operate, administer/);
  const elsewhere = await call(['token', 'create', 'elsewhere', '--allow', 'push', '--on', 'car/*'], team.token);
  assert.match(elsewhere.stderr, /which is not: on car\/\*/);
  assert.match((await call(['token'], team.token)).stdout, /^\w{8} +team .*\n\w{8} +└ night /m);
  assert.match(
    (await call(['token', 'revoke', 'team'])).stdout,
    /^team is revoked, and with it 1 token made from it\.$/m,
  );
  assert.equal((await call(['whoami'], night.token)).code, 4);
});

test('what cannot be is refused with what to do', async () => {
  for (const [args, complaint] of [
    [['token', 'create', 'x'], /needs a role/],
    [['token', 'create', 'x', '--role', 'king'], /role/],
    [['token', 'create', 'x', '--allow', 'fly'], /allow/],
    [['token', 'create', 'x', '--role', 'viewer', '--on', 'a b'], /expected a ref/],
    [['token', 'create', 'x', '--role', 'viewer', '--expires', 'soon'], /30d/],
    [['token', 'create', 'a/b', '--role', 'viewer'], /expected 1 to 63/],
    [['token', 'create', 'x', '--role', 'admin', '--on', 'robot/*'], /no limit/],
    [['token', 'burn'], /There are: create, list, show, revoke/],
  ] as const) {
    const { code, stderr } = await call([...args]);
    assert.equal(code, 2, args.join(' '));
    assert.match(stderr, complaint);
  }
  assert.equal((await call(['token', 'show', 'nobody'])).code, 5);
  const admin = (await readFile(join(folder, 'admin-token'), 'utf8')).trim();
  const mistyped = await call(['whoami'], `${admin}0`);
  assert.equal(mistyped.code, 4);
  assert.match(mistyped.stderr, /mistyped or cut off/);
});

test('the audit log tells who changed what, from where and when, filtered and page by page', async () => {
  const maker = await create(['maker', '--role', 'publisher']);
  for (const name of ['one', 'two', 'three']) await create([name, '--role', 'viewer'], maker.token);
  const { stdout } = await call(['audit', '--actor', 'maker']);
  assert.match(stdout, /^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d +maker +127\.0\.0\.1 +token\.create +three +/m);
  const page = JSON.parse((await call(['audit', '--json', '--actor', 'maker', '-n', '2'])).stdout) as AuditPage;
  assert.deepEqual(
    page.entries.map(({ subject }) => subject),
    ['three', 'two'],
  );
  assert.equal(typeof page.next, 'number');
  assert.match(
    (await call(['audit', '--action', 'token.', '--since', '1h', '--subject', 'one'])).stdout,
    /token\.create +one/,
  );
  assert.match((await call(['audit', '--action', 'project.'])).stdout, /Nothing of that/);
  const refused = await call(['audit'], maker.token);
  assert.equal(refused.code, 4);
  assert.match(refused.stderr, /maker may not administer/);
});
