import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { createRunnerClient } from './client.ts';

const never = new AbortController().signal;

/** Answers each call with the next of some answers. */
async function withAnswers(
  answers: Array<[status: number, body: string]>,
  use: (client: ReturnType<typeof createRunnerClient>) => Promise<void>,
): Promise<void> {
  const server = createServer((_request, response) => {
    const [status, body] = answers.shift() ?? [500, ''];
    response.writeHead(status).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    await use(createRunnerClient({ server: `http://127.0.0.1:${port}`, token: 't' }));
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test('what is worth another try, what ends a lease, and what is refused', async () => {
  const cases: Array<[number, string, string]> = [
    [200, '{"cancel":false}', 'ok'],
    [200, 'not JSON', 'unavailable'],
    [200, '{"cancel":"yes"}', 'unavailable'],
    [409, '{"error":{"code":"stale-token"}}', 'stale'],
    [404, '', 'stale'],
    [500, '<html>', 'unavailable'],
    [503, '', 'unavailable'],
    [429, '', 'unavailable'],
    [400, '{"error":{"code":"bad-request","message":"no"}}', 'refused'],
    [401, '', 'refused'],
    // Not followed: the token is for this address only.
    [302, '', 'unavailable'],
  ];
  await withAnswers(
    cases.map(([status, body]) => [status, body]),
    async (client) => {
      for (const [status, body, kind] of cases) {
        const answer = await client.heartbeat('e/1', { token: 1, logOffset: 0 }, never);
        assert.equal(answer.kind, kind, `${status} ${body}`);
      }
    },
  );
});

test('nothing to do is no lease; a job that makes no sense is none either', async () => {
  await withAnswers(
    [
      [204, ''],
      [200, '{"lease":{"token":"x"}}'],
      [404, ''],
    ],
    async (client) => {
      const request = { runner: {} as never, waitSeconds: 0 };
      assert.deepEqual(await client.lease(request, never), { kind: 'ok', body: null });
      assert.equal((await client.lease(request, never)).kind, 'unavailable');
      assert.equal((await client.lease(request, never)).kind, 'unavailable');
    },
  );
});

test('a server that is not there is unavailable, with the reason', async () => {
  const client = createRunnerClient({ server: 'http://127.0.0.1:9', token: 't' });
  const answer = await client.heartbeat('e', { token: 1, logOffset: 0 }, never);
  assert.equal(answer.kind, 'unavailable');
  assert.match(answer.kind === 'unavailable' ? answer.message : '', /ECONNREFUSED|bad port/);
});
