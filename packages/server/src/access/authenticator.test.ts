import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { crc32 } from 'node:zlib';
import { ServerError } from '../errors.ts';
import { ADMIN } from '../testing/callers.ts';
import { createTestCore } from '../testing/core.ts';
import { createAddressReader } from './address.ts';
import { readAudit } from './audit-pages.ts';
import { type Asking, createAuthenticator } from './authenticator.ts';
import { createFailedLogins } from './failed-logins.ts';
import type { RootTokenName } from './root-tokens.ts';
import { createThrottle } from './throttle.ts';
import { openTokens } from './tokens.ts';

const WORDS = 'correct horse battery staple correct'.replaceAll(' ', '-');

async function setUp(t: TestContext) {
  const core = await createTestCore(t);
  let now = Date.now();
  const clock = () => now;
  const tokens = await openTokens({ ...core, now: clock });
  const failures = createFailedLogins({ ...core, now: clock });
  const roots = new Map<string, RootTokenName>([[WORDS, 'admin']]);
  const authenticator = createAuthenticator({
    ...{ tokens, failures, throttle: createThrottle(clock), addressOf: createAddressReader([]) },
    roots: { check: (text) => roots.get(text) ?? null },
    sessionOf: (token) => (token === 'session' ? 'life.1' : null),
    certificateOf: (req) => (req.headers.certificate as string | undefined) ?? null,
  });
  const ask = (o: { token?: string; address?: string; headers?: Record<string, string>; method?: string }): string => {
    const { token, address = '192.0.2.7', headers = {}, method = 'GET' } = o;
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const req: Asking = {
      ...{ headers: { ...authorization, ...headers }, method },
      socket: { remoteAddress: address } as TLSSocket,
    };
    try {
      return authenticator.authenticate(req).name;
    } catch (error) {
      assert.ok(error instanceof ServerError);
      const { retryAfter } = (error.data ?? {}) as { retryAfter?: number };
      return retryAfter === undefined ? error.code : `wait ${retryAfter}`;
    }
  };
  const make = async (name: string) => (await tokens.create({ name, role: 'viewer' }, ADMIN)).text!;
  return { ...{ core, tokens, failures, ask, make }, pass: (seconds: number) => (now += seconds * 1000) };
}

/** A text of the right form with another secret. */
function withOtherSecret(text: string, n: number): string {
  const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
  const body = text.slice(0, 11) + String(n).padStart(32, '0');
  let sum = crc32(body);
  let checksum = '';
  for (let i = 0; i < 6; i += 1, sum = Math.floor(sum / 62)) checksum = digits[sum % 62]! + checksum;
  return body + checksum;
}

test('each kind of credentials is known as its own', async (t) => {
  const { ask, make } = await setUp(t);
  assert.equal(ask({ token: WORDS }), 'admin');
  assert.equal(ask({ token: 'session' }), 'runner');
  assert.equal(ask({ token: await make('ci') }), 'ci');
  assert.equal(ask({}), 'unauthenticated');
  assert.equal(ask({ headers: { certificate: 'nobody' } }), 'unauthenticated');
});

test('a certificate stands for a token while that is good; a header goes before it', async (t) => {
  const { ask, make, tokens } = await setUp(t);
  const made = await tokens.create({ name: 'mirror', role: 'viewer', certificateName: 'm.example.org' }, ADMIN);
  const headers = { certificate: 'm.example.org' };
  assert.equal(ask({ headers }), 'mirror');
  assert.equal(ask({ token: await make('ci'), headers }), 'ci');
  assert.equal(ask({ token: 'wrong', headers }), 'unauthenticated');
  // A page of another site makes a browser show its certificate.
  const site = { ...headers, 'sec-fetch-site': 'cross-site' };
  assert.equal(ask({ headers: site, method: 'POST' }), 'forbidden');
  assert.equal(ask({ headers: { ...headers, 'sec-fetch-site': 'same-origin' }, method: 'POST' }), 'mirror');
  const basic = { authorization: `Basic ${btoa('x:y')}`, 'sec-fetch-site': 'cross-site' };
  assert.equal(ask({ headers: basic, method: 'POST' }), 'forbidden');
  await tokens.revoke(made.token, ADMIN);
  assert.equal(ask({ headers }), 'unauthenticated');
});

test('guesses have to wait longer and longer, and are not looked at meanwhile', async (t) => {
  const { ask, pass } = await setUp(t);
  const guess = () => ask({ token: 'guess' });
  const answers = Array.from({ length: 8 }, guess);
  assert.deepEqual(answers, [...Array<string>(6).fill('unauthenticated'), 'wait 1', 'wait 1']);
  for (const wait of [2, 4, 8, 16, 32, 60, 60]) {
    pass(61);
    assert.equal(guess(), 'unauthenticated');
    assert.equal(guess(), `wait ${wait}`);
  }
  // Words that somebody chose for the admin token could be guessed: here they wait as well, elsewhere they do not.
  assert.equal(ask({ token: WORDS }), 'wait 60');
  assert.equal(ask({ token: WORDS, address: '192.0.2.8' }), 'admin');
  pass(60);
  assert.equal(ask({ token: WORDS }), 'admin');
  // Now that they were right once, the guesses of others do not hold them up.
  for (let i = 0; i < 20; i += 1) guess();
  assert.equal(ask({ token: WORDS }), 'admin');
});

test('a right token is not held up by guesses from its address, not even at other tokens', async (t) => {
  const { ask, make } = await setUp(t);
  const [one, two] = [await make('one'), await make('two')];
  for (let n = 0; n < 30; n += 1) ask({ token: withOtherSecret(one, n) });
  assert.equal(ask({ token: two }), 'two');
  // Guesses at one token from one address hold up only each other, and that token there.
  assert.match(ask({ token: one }), /^wait /);
  assert.equal(ask({ token: one, address: '192.0.2.8' }), 'one');
});

test('a wrong secret of a token that exists looks like one of none, once guessing is slowed down', async (t) => {
  const { ask, make } = await setUp(t);
  const known = await make('ci');
  for (let n = 0; n < 6; n += 1) ask({ token: 'guess' });
  assert.equal(ask({ token: withOtherSecret(known, 1) }), 'wait 1');
  assert.equal(ask({ token: withOtherSecret(`tl_00000000${known.slice(11)}`, 1) }), 'wait 1');
});

test('failures are summed up in the audit log, a few entries a minute whatever arrives', async (t) => {
  const { core, ask, make, failures, pass } = await setUp(t);
  const known = await make('ci');
  ask({ token: withOtherSecret(known, 1), address: '192.0.2.9' });
  for (let n = 0; n < 500; n += 1) ask({ token: 'guess', address: `10.0.${n >> 8}.${n & 255}` });
  await failures.flush();
  const { entries } = await readAudit(core.db, { action: 'login.failed', limit: 100 });
  assert.equal(entries.length, 21);
  assert.equal(
    entries.reduce((sum, { data }) => sum + Number(data.count), 0),
    501,
  );
  const [first] = entries.filter(({ address }) => address === '192.0.2.9');
  assert.deepEqual(first?.data, { count: 1, tokens: [known.slice(3, 11)] });
  pass(1);
  await failures.flush();
  assert.equal((await readAudit(core.db, { action: 'login.failed', limit: 100 })).entries.length, 21);
});
