import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { CHANNEL, createTestGateway, type TestDevice, type TestGateway } from './testing/test-gateway.ts';

const run = promisify(execFile);

let t: TestGateway;
before(async () => {
  t = await createTestGateway();
});
after(() => t.close());

interface Size {
  objects: number;
  bytes: number;
  unpacked: number;
  delta: {
    from: string;
    bytes: number;
    unpacked: number;
    folder: string;
    files: { name: string; bytes: number }[];
    fallbacks: number;
  } | null;
}

async function ask(as: TestDevice, commit: string, ...have: string[]): Promise<Size> {
  const query = [`commit=${commit}`, ...have.map((one) => `have=${one}`)].join('&');
  const answer = await t.call('GET', `/device/download?${query}`, { as });
  assert.equal(answer.status, 200, answer.text);
  return JSON.parse(answer.text) as Size;
}

/** What stock ostree says that it fetched; it rounds to a KiB. */
async function pulled(repo: string, ...options: string[]): Promise<number> {
  const { stdout } = await run('ostree', ['pull', `--repo=${repo}`, ...options, 't', CHANNEL], {
    env: { ...process.env, LC_ALL: 'C' },
  });
  const match = /; ([\d.]+)[\s\u00a0](bytes|[KM]iB) transferred/.exec(stdout);
  assert.ok(match, stdout);
  return Number(match[1]) * ({ KiB: 1024, MiB: 1024 ** 2 }[match[2] ?? ''] ?? 1);
}

test('a device is told what it will fetch, and stock ostree then fetches that; and what a delta takes', async () => {
  const client = await t.enrolled();
  const repo = await t.addRemote(client);
  const first = await t.release(randomBytes(400_000).toString('hex'));
  const whole = await ask(client, first);
  assert.ok(whole.unpacked > 800_000 && whole.bytes > 400_000, JSON.stringify(whole));
  const fetched = await pulled(repo);
  assert.ok(Math.abs(fetched - whole.bytes) < whole.bytes / 100, `${fetched} fetched, ${whole.bytes} said`);
  assert.deepEqual({ ...(await ask(client, first, first)) }, { objects: 0, bytes: 0, unpacked: 0, delta: null });

  const text = randomBytes(300_000).toString('hex');
  const second = await t.release(text);
  const objects = await ask(client, second, first);
  assert.equal(objects.delta, null);
  const more = await pulled(repo);
  assert.ok(Math.abs(more - objects.bytes) < objects.bytes / 100, `${more} fetched, ${objects.bytes} said`);

  const third = await t.release(`${text.slice(0, 1000)}changed${text.slice(1007)}`);
  const published = join(t.dir, 'repos/public');
  await run('ostree', ['static-delta', 'generate', `--repo=${published}`, `--from=${second}`, `--to=${third}`]);
  const { delta, bytes } = await ask(client, third, first, second);
  assert.ok(delta !== null && delta.from === second && delta.bytes < bytes / 10, JSON.stringify({ delta, bytes }));
  let files = 0;
  for (const file of delta.files) {
    const answer = await t.call('GET', `/ostree/${delta.folder}/${file.name}`, { as: client });
    assert.equal(Number(answer.headers['content-length']), file.bytes);
    files += file.bytes;
  }
  assert.deepEqual([files, delta.fallbacks], [delta.bytes, 0]);
});

test('what is no commit, or none of its repository, has no size', async () => {
  const client = await t.enrolled();
  const commit = await t.release('some');
  const of = async (query: string) => (await t.call('GET', `/device/download?${query}`, { as: client })).status;
  assert.equal(await of(''), 400);
  assert.equal(await of('commit=..%2f..'), 400);
  assert.equal(await of(`commit=${commit}&have=x`), 400);
  assert.equal(await of(`commit=${'e'.repeat(64)}`), 404);
  assert.equal(await of(`commit=${commit}&have=${'e'.repeat(64)}`), 200);
  assert.equal((await t.call('GET', `/device/download?commit=${commit}`)).status, 401);
});
