import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { CHANNEL, createTestGateway, type TestGateway } from './testing/test-gateway.ts';

let t: TestGateway;
before(async () => {
  t = await createTestGateway();
});
after(() => t.close());

test('tokens: used up, expired and forged ones are refused; a repeated request is not a second use', async () => {
  const { csr } = await t.keyOf('t1');
  const token = await t.newToken();
  const first = await t.call('POST', '/enroll', { body: { token, id: 'tok-1', csr } });
  const again = await t.call('POST', '/enroll', { body: { token, id: 'tok-1', csr } });
  assert.deepEqual([first.status, again.status], [200, 200]);
  const other = await t.call('POST', '/enroll', { body: { token, id: 'tok-2', csr: (await t.keyOf('t2')).csr } });
  assert.deepEqual([other.status, other.code], [401, 'token-invalid']);
  const expired = await t.newToken({ expiresSeconds: -1 });
  for (const bad of [expired, `x.${t.authority.fingerprint}`, '.', 'x'.repeat(512)]) {
    const answer = await t.call('POST', '/enroll', { body: { token: bad, id: 'tok-3', csr } });
    assert.deepEqual([answer.status, answer.code], [401, 'token-invalid']);
  }
  const race = await t.newToken({ uses: 2 });
  const keys = await Promise.all(['r1', 'r2', 'r3', 'r4'].map((name) => t.keyOf(name)));
  const answers = await Promise.all(
    keys.map((key, i) => t.call('POST', '/enroll', { body: { token: race, id: `race-${i}`, csr: key.csr } })),
  );
  assert.equal(answers.filter((answer) => answer.status === 200).length, 2);
});

test('an id is not taken over: another key is refused until an operator allows it', async () => {
  const client = await t.enrolled();
  const { csr, key } = await t.keyOf('thief');
  const stolen = await t.call('POST', '/enroll', { body: { token: await t.newToken(), id: client.id, csr } });
  assert.deepEqual([stolen.status, stolen.code], [403, 'key-changed']);
  // Even a certificate of our CA with the id but another key does not count.
  const { certificate } = await t.authority.issueDeviceCertificate({ id: client.id, csr });
  const as = { cert: certificate, key };
  assert.equal((await t.call('GET', '/device', { as })).code, 'key-changed');
  await t.registry.patch(client.id, { allowKeyChange: true }, null);
  assert.equal((await t.call('GET', '/device', { as })).status, 200);
  assert.equal((await t.call('GET', '/device', { as: client })).code, 'key-changed', 'the old key is out');
});

test('a removed device with its certificate waits for an operator', async () => {
  await t.release('pending');
  const client = await t.enrolled();
  await t.registry.remove(client.id, null);
  const ref = `/ostree/refs/heads/${CHANNEL}`;
  assert.equal((await t.call('GET', ref, { as: client })).code, 'device-pending');
  const seen = JSON.parse((await t.call('GET', '/device', { as: client })).text) as { accepted: boolean };
  assert.equal(seen.accepted, false);
  await t.registry.patch(client.id, { accepted: true }, null);
  assert.equal((await t.call('GET', ref, { as: client })).status, 200);
});
