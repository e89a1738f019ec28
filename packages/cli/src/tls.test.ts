import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { WhoAmI } from '@treeline/server';
import { type Ended, treeline } from './testing/command.ts';

// The real server with TLS, its embedded runner, and the command as it is on another machine: it knows an address,
// a token and an authority.

const run = promisify(execFile);

let folder = '';
let url = '';
let token = '';
let stop: (signal: NodeJS.Signals) => void = () => {};
let ended: Promise<Ended>;
const at = (file: string) => join(folder, file);

/** A certificate that is its own authority. */
async function selfSigned(name: string, ...extensions: string[]): Promise<void> {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', at(`${name}.key`)];
  const more = extensions.flatMap((extension) => ['-addext', extension]);
  await run('openssl', [
    'req',
    '-x509',
    ...key,
    '-out',
    at(`${name}.pem`),
    '-subj',
    `/CN=${name}`,
    '-days',
    '9',
    ...more,
  ]);
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'treeline-tls-'));
  await selfSigned('server', 'subjectAltName=DNS:localhost');
  await selfSigned('ops');
  const first = Promise.withResolvers<string>();
  const files = ['--tls-cert', 'server.pem', '--tls-key', 'server.key', '--tls-client-ca', 'ops.pem'];
  ended = treeline(['up', '--json', '--port', '0', '--gateway-port', '0', '--listen', '0.0.0.0', ...files], {
    env: { TREELINE_DATA: at('data') },
    cwd: folder,
    started: (kill) => {
      stop = kill;
    },
    onOutput: (stdout) => {
      if (stdout.includes('\n')) first.resolve(stdout.slice(0, stdout.indexOf('\n')));
    },
  });
  const line = await Promise.race([first.promise, ended.then(({ stderr }) => assert.fail(stderr))]);
  ({ url } = JSON.parse(line) as { url: string });
  token = (await readFile(at('data/admin-token'), 'utf8')).trim();
});
after(async () => {
  stop('SIGTERM');
  await ended;
  await rm(folder, { recursive: true, force: true });
});

test('on another machine: https with an authority of its own', async () => {
  assert.match(url, /^https:\/\/localhost:\d+$/);
  const args = ['project', 'list', '--server', url, '--token', token];
  const good = await treeline([...args, '--ca', at('server.pem')]);
  assert.deepEqual([good.stderr, good.code], ['', 0]);
  const byEnvironment = await treeline(args, { env: { TREELINE_CA: at('server.pem') } });
  assert.equal(byEnvironment.code, 0);

  const distrusted = await treeline(args);
  assert.equal(distrusted.code, 3);
  assert.match(distrusted.stderr, /cannot be trusted: self-signed certificate/);
  assert.match(distrusted.stderr, /--ca FILE/);
  const misnamed = await treeline([...args.with(3, url.replace('localhost', '127.0.0.1')), '--ca', at('server.pem')]);
  assert.equal(misnamed.code, 3);
  assert.match(misnamed.stderr, /Call the server by a name that is in its certificate/);
});

test('a client certificate stands for a token', async () => {
  const made = await treeline(['token', 'create', 'ops', '--role', 'operator', '--certificate-name', 'ops'], {
    env: { TREELINE_DATA: at('data') },
  });
  assert.equal(made.code, 0);
  assert.match(made.stdout, /^certificate +ops$/m);
  assert.match(made.stdout, /client certificate of the common name ops/);
  const args = ['whoami', '--json', '--server', url, '--ca', at('server.pem')];
  const shown = await treeline([...args, '--client-cert', at('ops.pem'), '--client-key', at('ops.key')]);
  assert.deepEqual([shown.stderr, shown.code], ['', 0]);
  const { name, actions } = JSON.parse(shown.stdout) as WhoAmI;
  assert.deepEqual([name, actions], ['ops', ['read', 'operate']]);
  // Streams and refusals go the same way.
  const env = {
    ...{ TREELINE_SERVER: url, TREELINE_CA: at('server.pem') },
    ...{ TREELINE_CLIENT_CERT: at('ops.pem'), TREELINE_CLIENT_KEY: at('ops.key') },
  };
  assert.equal((await treeline(['devices'], { env })).code, 0);
  const refused = await treeline(['token', 'revoke', 'nobody'], { env });
  assert.equal(refused.code, 5);
  assert.equal((await treeline(['audit'], { env })).code, 4);
  assert.equal((await treeline(args)).code, 4);
});

test('on the same machine nothing has to be said: the data folder knows a way in', async () => {
  const env = { TREELINE_DATA: at('data') };
  assert.equal((await treeline(['project', 'list'], { env })).code, 0);
  const made = await treeline(['token', 'create', 'ci', '--role', 'viewer'], { env });
  assert.ok(made.stdout.includes(`TREELINE_SERVER=${url} `), made.stdout);
  // So does the embedded runner.
  const { local } = JSON.parse(await readFile(at('data/server.json'), 'utf8')) as { local: string };
  assert.match(local, /^http:\/\/127\.0\.0\.1:\d+$/);
  for (let look = 0; ; look += 1) {
    const answer = await fetch(`${local}/api/v1/runners`, { headers: { authorization: `Bearer ${token}` } });
    const { runners, embedded } = (await answer.json()) as { runners: { online: boolean }[]; embedded: object };
    if (runners.some(({ online }) => online)) break;
    assert.ok(look < 600, JSON.stringify(embedded));
    await setTimeout(100);
  }
});

test('files that are no certificates are refused with what to give instead', async () => {
  await writeFile(at('junk.pem'), '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
  const args = ['whoami', '--server', url, '--token', token];
  for (const [more, complaint] of [
    [['--ca', at('junk.pem')], /no file of certificates/],
    [['--ca', at('server.key')], /there is no certificate in it/],
    [['--ca', '/nowhere'], /cannot be read/],
    [['--client-cert', at('server.pem'), '--client-key', at('ops.key')], /cannot be used as a client certificate/],
    [['--client-cert', at('server.pem')], /cannot be used as a client certificate/],
  ] as const) {
    const { code, stderr } = await treeline([...args, ...more]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, complaint);
  }
});
