import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { appendFile, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { enrol } from '../board/enrol.ts';
import { boardPaths } from '../board/identity.ts';
import { createTestDisk } from '../testing/disk.ts';
import { createFixture, type Fixture } from '../testing/fixture.ts';
import { pauseAfter, runOnce } from './agent.ts';
import { lookNow, pin } from './by-hand.ts';
import type { AgentProgress } from './cycle.ts';
import { agentStatus } from './status.ts';

const run = promisify(execFile);
const skip = process.getuid?.() === 0 ? false : 'ostree admin needs root';

let fixture: Fixture;
before(async () => {
  if (skip === false) fixture = await createFixture({ memory: true });
});
after(() => fixture?.close());

const newBoard = () => fixture.newBoard((dir) => ({ kind: 'ostree-sysroot', sysroot: join(dir, 'root'), os: 'robot' }));
const published = () => join(fixture.dir, 'repo');

/** What stock `ostree` costs for the same: a bare repository with `base`, and the device's certificate. */
async function stockPull(board: string, base: string): Promise<number> {
  const repo = join(board, 'stock');
  const { certificate, key, ca } = boardPaths(board);
  await run('ostree', ['init', `--repo=${repo}`, '--mode=bare']);
  await run('ostree', [
    ...['remote', 'add', `--repo=${repo}`, '--no-gpg-verify', `--set=tls-client-cert-path=${certificate}`],
    ...[`--set=tls-client-key-path=${key}`, `--set=tls-ca-path=${ca}`, 't', `${fixture.url}/ostree`],
  ]);
  await run('ostree', ['pull', `--repo=${repo}`, 't', `robot/edge@${base}`]);
  const before = fixture.sent.bytes;
  await run('ostree', ['pull', `--repo=${repo}`, 't', 'robot/edge']);
  return fixture.sent.bytes - before;
}

test('what an update takes is known and told before it is fetched, and is no more than stock ostree takes', {
  skip,
}, async (t) => {
  fixture.tellsSizes = true;
  t.after(() => {
    fixture.tellsSizes = false;
  });
  const board = await newBoard();
  const model = randomBytes(600_000).toString('hex');
  const a = await fixture.release({ 'usr/share/model': model });
  fixture.offer(a);
  await runOnce({ board });
  for (const how of ['objects', 'delta'] as const) {
    const base = (await agentStatus(board)).running?.commit ?? '';
    const next = await fixture.release({ 'usr/share/model': `${model.slice(0, 5000)}${how}${model.slice(5007)}` });
    if (how === 'delta') {
      await run('ostree', ['static-delta', 'generate', `--repo=${published()}`, `--from=${base}`, `--to=${next}`]);
    }
    fixture.offer(next);
    const look = await lookNow(board);
    assert.deepEqual([look.offered, look.planned?.delta, look.held], [next, how === 'delta', null]);
    const sent = fixture.sent.bytes;
    const seen: AgentProgress[] = [];
    const result = await runOnce({ board, onProgress: (progress) => seen.push(progress) });
    assert.deepEqual(result.state, { kind: 'good', release: next });
    const wire = fixture.sent.bytes - sent;
    const planned = seen.find((progress) => progress.kind === 'plan')?.planned;
    assert.ok(planned !== undefined);
    const order = seen.map((progress) => progress.kind);
    assert.ok(order.indexOf('plan') < order.indexOf('download'), 'said before anything is fetched');
    const told = fixture.states.findLast((state) => state.release === next && state.state === 'downloading');
    assert.deepEqual((told?.details as { download: unknown } | undefined)?.download, {
      ...{ objects: planned.objects, bytes: planned.bytes, delta: how === 'delta' },
    });
    const stock = await stockPull(board, base);
    await rm(join(board, 'stock'), { recursive: true });
    t.diagnostic(`${how}: ${planned.bytes} bytes said, ${wire} fetched, ${stock} by stock ostree`);
    assert.ok(wire <= stock * 1.1 && wire <= planned.bytes * 1.1 + 500, `${wire} of ${planned.bytes}, stock ${stock}`);
    assert.ok(planned.bytes <= wire * 1.1 + 500, 'an honest number');
  }
});

test('an object that is damaged on disk is fetched again before a release is built on it', { skip }, async () => {
  const board = await newBoard();
  const a = await fixture.release({ 'usr/share/one': 'one', 'usr/share/app': 'a' });
  fixture.offer(a);
  await runOnce({ board });
  const objects = join(board, 'root/ostree/repo/objects');
  const { stdout } = await run('ostree', ['ls', '-C', `--repo=${published()}`, a, '/usr/share/filler']);
  const checksum = /[0-9a-f]{64}/.exec(stdout)?.[0] ?? '';
  const path = join(objects, checksum.slice(0, 2), `${checksum.slice(2)}.file`);
  await run('chattr', ['-i', path]).catch(() => {});
  await appendFile(path, 'rot');
  const missing = (await readdir(join(objects, '00')).catch(() => [])).find((name) => name.endsWith('.file'));
  if (missing !== undefined) await rm(join(objects, '00', missing));

  const b = await fixture.release({ 'usr/share/one': 'one', 'usr/share/app': 'b' });
  fixture.offer(b);
  const warnings: string[] = [];
  const result = await runOnce({
    board,
    onProgress: (progress) => progress.kind === 'warning' && warnings.push(progress.message),
  });
  assert.deepEqual(result.state, { kind: 'good', release: b });
  assert.match(warnings.join('\n'), /damaged on disk, fetched again/);
  const filler = join(board, `root/ostree/deploy/robot/deploy/${b}.0/usr/share/filler`);
  assert.equal((await stat(filler)).size, 300_000);
  await run('ostree', ['fsck', '--quiet', `--repo=${join(board, 'root/ostree/repo')}`]);
});

test('a robot that drives is not disturbed: the update waits, says why, and goes on when it may', {
  skip,
}, async () => {
  const board = await newBoard();
  const a = await fixture.release({ 'usr/share/app': 'parked' });
  fixture.offer(a);
  await runOnce({ board });
  const settings = join(board, 'settings');
  const hook = async (step: string, text: string) => {
    await mkdir(join(settings, 'hooks', `${step}.d`), { recursive: true });
    await writeFile(join(settings, 'hooks', `${step}.d/10-robot`), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  };
  const b = await fixture.release({ 'usr/share/app': 'next' });
  fixture.offer(b);
  await hook('pre-update', 'echo battery at 12 %; exit 75');
  const sent = fixture.sent.bytes;
  const reports = fixture.states.length;
  for (let i = 0; i < 3; i++) assert.equal((await runOnce({ board })).state.kind, 'blocked');
  assert.equal(fixture.sent.bytes, sent, 'nothing is fetched');
  const blocked = fixture.states.slice(reports).filter((state) => state.reason === 'battery at 12 %');
  assert.ok(blocked.length >= 1 && blocked.every((state) => state.state === 'blocked' && state.release === b));

  await hook('pre-update', 'exit 0');
  await mkdir(join(settings, 'locks'));
  await writeFile(join(settings, 'locks/mission'), 'drives until noon');
  const ready = await runOnce({ board });
  const waits = 'locked by mission: drives until noon';
  assert.equal(ready.state.kind, 'blocked', 'locked before it is fetched');
  await rm(join(settings, 'locks/mission'));
  await hook('pre-reboot', 'exit 75');
  const waiting = await runOnce({ board });
  assert.deepEqual(waiting.state, {
    ...{ kind: 'staged', release: b, resting: { kind: 'good', release: a }, waits: 'hook 10-robot says: not now' },
  });
  assert.equal(waiting.booted, a);
  assert.deepEqual(fixture.states.at(-1)?.reason, 'ready to reboot; hook 10-robot says: not now');
  assert.ok(fixture.states.some((state) => state.reason === waits));

  // Meanwhile something newer is released: that is what it will boot.
  const c = await fixture.release({ 'usr/share/app': 'newer' });
  fixture.offer(c);
  const replaced = await runOnce({ board });
  assert.deepEqual([replaced.state.kind, 'release' in replaced.state && replaced.state.release], ['staged', c]);
  await hook('pre-reboot', 'exit 0');
  assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: c });
});

test('a board that is pinned stays, and one whose reboots are left to people waits for one', { skip }, async () => {
  const board = await newBoard();
  const a = await fixture.release({ 'usr/share/app': 'first' });
  fixture.offer(a);
  await runOnce({ board });
  await pin({ board, why: 'demo on Friday' });
  const b = await fixture.release({ 'usr/share/app': 'second' });
  fixture.offer(b);
  const pinned = await runOnce({ board });
  assert.deepEqual(pinned.state.kind === 'blocked' && pinned.state.why, 'pinned: demo on Friday');
  assert.equal((fixture.states.at(-1)?.details as { pinned: string } | undefined)?.pinned, 'demo on Friday');
  await pin({ board, why: null });

  await mkdir(join(board, 'settings'), { recursive: true });
  await writeFile(join(board, 'settings/agent.yaml'), 'reboot: manual\n');
  const waiting = await runOnce({ board });
  assert.deepEqual([waiting.state.kind, waiting.booted], ['rebooting', a]);
  assert.match(String(fixture.states.at(-1)?.reason), /a person reboots this board/);
  assert.equal((await runOnce({ board })).booted, a, 'and waits');
  await rm(join(board, 'agent/booted.json'));
  assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: b });
});

test('a release for which there is no room is not begun, and says what it would need', { skip }, async (t) => {
  const disk = await createTestDisk({ megabytes: 40, copies: 0 });
  t.after(() => disk.close());
  fixture.tellsSizes = true;
  t.after(() => {
    fixture.tellsSizes = false;
  });
  const board = join(disk.folder, 'board');
  await enrol({
    ...{ board, gateway: fixture.url, token: fixture.token, id: 'robot-small' },
    deployer: { kind: 'ostree-sysroot', sysroot: join(board, 'root'), os: 'robot' },
  });
  const a = await fixture.release({ 'usr/share/app': 'small' });
  fixture.offer(a);
  assert.equal((await runOnce({ board })).state.kind, 'good');
  fixture.offer(await fixture.release({ 'usr/share/map': randomBytes(25_000_000).toString('base64') }));
  const sent = fixture.sent.bytes;
  const { state } = await runOnce({ board });
  assert.ok(state.kind === 'blocked');
  assert.match(state.why, /^no space on \/: the release needs 3\d MB, and \d+ MB are free$/);
  assert.equal(fixture.sent.bytes, sent, 'nothing is fetched for it');
  const c = await fixture.release({ 'usr/share/app': 'small, too' });
  fixture.offer(c);
  assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: c });

  // Not a byte is left, for nobody.
  await run('dd', ['if=/dev/zero', `of=${disk.folder}/filler`, 'bs=64k']).catch(() => {});
  await run('dd', ['if=/dev/zero', `of=${disk.folder}/rest`, 'bs=1k']).catch(() => {});
  const d = await fixture.release({ 'usr/share/app': 'small again' });
  fixture.offer(d);
  const full = await runOnce({ board });
  assert.deepEqual([full.state.kind, full.booted], ['blocked', c]);
  assert.deepEqual([fixture.states.at(-1)?.state, fixture.states.at(-1)?.release], ['blocked', d]);
  assert.match(String(fixture.states.at(-1)?.reason), /no space/);
  assert.equal((await runOnce({ board })).state.kind, 'blocked');
  await rm(join(disk.folder, 'filler'));
  assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: d });
});

test('while the server is away the pauses grow, to a limit', () => {
  const minute = 60_000;
  assert.deepEqual(
    [0, 1, 2, 3, 5, 10, 1000].map((failures) => pauseAfter(failures, minute) / minute),
    [1, 1, 2, 4, 16, 30, 30],
  );
  assert.equal(pauseAfter(9, 3_600_000), 3_600_000, 'never shorter than what was asked for');
});
