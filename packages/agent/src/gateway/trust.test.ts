import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { createDeviceClock, type DeviceClock } from '../clock/device-clock.ts';
import { send } from './request.ts';
import { createTrustedAgent } from './trust.ts';

const run = promisify(execFile);
const DAY = 86_400_000;

/** A server whose certificate ran out yesterday, as one does to a board whose clock is far ahead. */
async function serverOf(t: TestContext, o: { purpose?: string; days?: string; name?: string } = {}) {
  const dir = await mkdtemp(join(tmpdir(), 'treeline-trust-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const file = (name: string) => join(dir, name);
  await run('openssl', [
    ...['req', '-x509', ...key, '-keyout', file('ca.key'), '-out', file('ca.crt'), '-subj', '/CN=ca', '-days', '2'],
  ]);
  await run('openssl', ['req', ...key, '-keyout', file('s.key'), '-out', file('s.csr'), '-subj', '/CN=server']);
  await writeFile(
    file('ext'),
    `subjectAltName=${o.name ?? 'IP:127.0.0.1'}\nextendedKeyUsage=${o.purpose ?? 'serverAuth'}\n`,
  );
  await run('openssl', [
    ...['x509', '-req', '-in', file('s.csr'), '-CA', file('ca.crt'), '-CAkey', file('ca.key'), '-set_serial', '1'],
    ...['-days', o.days ?? '-1', '-extfile', file('ext'), '-out', file('s.crt')],
  ]);
  const server = createServer({ key: await readFile(file('s.key')), cert: await readFile(file('s.crt')) }, (_, res) =>
    res.end('hello'),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const ca = await readFile(file('ca.crt'), 'utf8');
  const ask = async (clock: DeviceClock, trusted = ca) => {
    const agent = createTrustedAgent({ ca: trusted }, clock);
    try {
      return (await send(url, { agent, timeoutMs: 5000 })).text;
    } finally {
      agent.destroy();
    }
  };
  return { ca, ask };
}

/** Of these bounds, now is outside: what this board's clock shows cannot be. */
const wrong = () => createDeviceClock({ earliest: 0, latest: Date.now() - 3 * DAY });
const right = () => createDeviceClock({ earliest: 0, latest: Date.now() + 3 * DAY });

test('a clock that cannot be right keeps no board from its server; one that can be is believed', async (t) => {
  const { ask } = await serverOf(t);
  assert.equal(await ask(wrong()), 'hello');
  await assert.rejects(ask(right()), {
    code: 'unreachable',
    message: /valid from .* and here it is .*CERT_HAS_EXPIRED/,
  });
  const valid = await serverOf(t, { days: '2' });
  assert.equal(await valid.ask(right()), 'hello');
});

test('once the server has said what time it is, its certificate has to be valid then', async (t) => {
  const { ask } = await serverOf(t);
  const clock = wrong();
  clock.heard(Date.now() - 5 * DAY);
  assert.equal(clock.isPlausible(), false);
  await assert.rejects(ask(clock), { message: /has run out/ });
});

test('however wrong the clock is: another CA, another name and a device that plays server get nothing', async (t) => {
  const own = await serverOf(t);
  const foreign = await serverOf(t);
  await assert.rejects(foreign.ask(wrong(), own.ca), { code: 'unreachable' });
  const misnamed = await serverOf(t, { name: 'DNS:elsewhere.example' });
  await assert.rejects(misnamed.ask(wrong()), { code: 'unreachable' });
  const device = await serverOf(t, { purpose: 'clientAuth' });
  await assert.rejects(device.ask(wrong()), { code: 'unreachable' });
  await assert.rejects(device.ask(right()), { code: 'unreachable' });
});

test('what the server says is taken for the time only where it can be', () => {
  const now = Date.parse('1970-01-05T00:00:00Z');
  const clock = createDeviceClock({
    earliest: Date.parse('2026-01-01'),
    latest: Date.parse('2036-01-01'),
    now: () => now,
  });
  assert.equal(clock.now(), now);
  clock.heard(Date.parse('1999-01-01'));
  assert.equal(clock.behind(), null);
  clock.heard(Date.parse('2026-06-01T12:00:00Z'));
  assert.equal(new Date(clock.now()).toISOString(), '2026-06-01T12:00:00.000Z');
});
