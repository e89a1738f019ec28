import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createApi } from '../api/app.ts';
import { authenticatorOf } from '../testing/callers.ts';
import { createTestCore } from '../testing/core.ts';
import { createPointers, createRegistry, pointerRoutes } from './index.ts';

const commit = 'e'.repeat(64);
const url = 'http://192.0.2.9:8422';

test('pointing takes the right to operate, an address without secrets, and can be done twice', async (t) => {
  const core = await createTestCore(t);
  const registry = createRegistry({ ...core, releases: { current: async () => null } });
  await registry.admit({ id: 'board', publicKey: 'k', policy: 'accept' });
  const api = createApi({
    authenticator: authenticatorOf({ operator: ['read', 'operate'], viewer: ['read'] }),
    log: core.log,
    bodyLimit: 64 * 1024,
    routes: [pointerRoutes(createPointers(core))],
  });
  const call = async (method: string, token: string, body?: unknown, id = 'board') => {
    const response = await api.request(`/api/v1/devices/${id}/pointer`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text === '' ? null : (JSON.parse(text) as Record<string, unknown>) };
  };

  assert.equal((await call('PUT', 'nobody', { url, commit })).status, 401);
  assert.equal((await call('PUT', 'viewer', { url, commit })).status, 403);
  assert.equal((await call('DELETE', 'viewer')).status, 403);
  for (const wrong of [
    {},
    { url },
    { url, commit: 'short' },
    { url, commit, ref: '../up' },
    { url, commit, seconds: 0 },
    { url, commit, seconds: 31 * 86_400 },
    { url, commit, unknown: 1 },
    ...[
      'ftp://a/b',
      'file:///etc',
      '/repo',
      'http://user:secret@host/',
      'http://host/?q',
      'http://host/#f',
      'http://h\n',
    ].map((one) => ({ url: one, commit })),
  ]) {
    assert.equal((await call('PUT', 'operator', wrong)).status, 400, JSON.stringify(wrong));
  }
  assert.equal((await call('PUT', 'operator', { url, commit }, 'other')).status, 404);
  assert.equal((await call('DELETE', 'operator', undefined, 'other')).status, 404);

  for (const _ of [1, 2]) {
    const { status, body } = await call('PUT', 'operator', {
      url: `${url}/`,
      commit,
      ref: 'dev/ana/robot',
      seconds: 60,
    });
    assert.equal(status, 200);
    const { createdAt, expiresAt, ...rest } = body as { createdAt: string; expiresAt: string };
    assert.deepEqual(rest, { url, ref: 'dev/ana/robot', commit, by: 'operator' });
    assert.equal(Date.parse(expiresAt) - Date.parse(createdAt), 60_000);
  }
  for (const _ of [1, 2]) assert.equal((await call('DELETE', 'operator')).status, 204);
});
