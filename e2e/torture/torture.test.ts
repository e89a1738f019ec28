// Publishes, prunes and pushes go on while the server is killed at random moments and stock clients pull in loops, from
// it and from nginx on the published folder. Nobody gets anything broken, and what was acknowledged stays.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeGpgKey } from '../testing/gpg-key.ts';
import { startNginx } from '../testing/nginx.ts';
import { machineClient, trixieClient } from '../testing/ostree-client.ts';
import { scratchFolder } from '../testing/scratch.ts';
import { TreelineServer } from '../testing/treeline-server.ts';
import { type Outage, pullInLoops } from './clients.ts';
import { type AcknowledgedRelease, work } from './workload.ts';

/** Pushes, publishes and prunes; more with `TREELINE_TORTURE=3000 npm test -- e2e/torture`. */
const OPERATIONS = Number(process.env.TREELINE_TORTURE ?? 300);
const CHANNELS = ['torture/alpha', 'torture/beta', 'torture/gamma'];
const CLIENTS = 8;
/**
 * How much the server has done between a start and the next kill, at least and at most; then at any moment of so many ms.
 * Not by time alone: a machine that needs long to start it would get nothing done.
 */
const KILL_AFTER = [3, 12] as const;
const KILL_WITHIN_MS = 1000;

test('whatever is killed when, clients get whole releases and nothing acknowledged is lost', async (t) => {
  const seed = Number(process.env.TREELINE_SEED ?? Date.now() % 1_000_000);
  t.diagnostic(`TREELINE_SEED=${seed}`);
  const random = randomFrom(seed);
  const folder = scratchFolder(t);
  const server = new TreelineServer(join(folder, 'data'));
  t.after(() => server.kill());
  const publicKey = join(folder, 'key.asc');
  const cleanUp: (() => unknown)[] = [];
  t.after(() => {
    for (const work of cleanUp) work();
  });
  makeGpgKey({ home: join(folder, 'data/keys/signer'), user: 'torture@example.org', publicKey, cleanUp });
  await server.start();
  const minute = 1 / 24 / 60;
  await server.patch('/repositories/public', {
    signing: [{ type: 'gpg', key: 'torture@example.org', home: 'signer' }],
    retention: { releases: 2, youngerThan: 0, grace: minute / 3 },
    summaryGrace: 1,
  });
  const nginx = await startNginx(
    join(folder, 'nginx'),
    `access_log off; server { listen 127.0.0.1:PORT; root ${join(folder, 'data/repos/public')}; }`,
  );
  t.after(() => nginx.stop());

  const released = new Map(CHANNELS.map((channel) => [channel, new Set<string>()]));
  const outages: Outage[] = [];
  const stop = new AbortController();
  let operations = 0;
  const working = CHANNELS.map((channel, index) =>
    work({
      ...{ server, random, channel, ref: `dev/torture-${index}`, folder: join(folder, `work-${index}`) },
      operations: Math.ceil(OPERATIONS / CHANNELS.length),
      signal: stop.signal,
      onDone: () => void operations++,
      onRelease: (commit) => void released.get(channel)!.add(commit),
    }),
  );
  const running = Promise.all(working).finally(() => stop.abort());
  // Each channel has something before anybody pulls.
  while (!stop.signal.aborted && (await channelsOf(server)).length < CHANNELS.length) await sleep(200);

  const clients = [machineClient(), trixieClient()];
  const pulling = Array.from({ length: CLIENTS }, (_, index) => {
    const place = join(folder, `client-${index}`);
    mkdirSync(place);
    execFileSync('cp', [publicKey, join(place, 'key.asc')]);
    const isDirect = index % 2 === 0;
    return pullInLoops(
      {
        client: clients[index < CLIENTS / 2 ? 0 : 1]!,
        folder: place,
        mode: index % 4 < 2 ? 'bare-user' : 'archive',
        url: isDirect ? `${server.url}/repos/public` : nginx.url,
        outages: isDirect ? outages : [],
        publicKey: join(place, 'key.asc'),
        verifiesSummary: isDirect,
        channels: CHANNELS,
        isReleased: (channel, commit) => released.get(channel)!.has(commit),
      },
      stop.signal,
    ).catch((error: unknown) => {
      stop.abort();
      throw error;
    });
  });
  const killing = killNowAndThen(server, { outages, random, operations: () => operations, signal: stop.signal }).catch(
    (error: unknown) => {
      // The others would wait for a server that does not come back.
      stop.abort();
      throw error;
    },
  );
  // All end before anything is cleaned up, whoever fails.
  await Promise.allSettled([running, killing, ...pulling]);
  const [done, kills, experiences] = [await running, await killing, await Promise.all(pulling)];

  for (const { name, pulls, refused } of experiences) {
    t.diagnostic(`${name}: ${pulls} pulls, ${refused} refused`);
    assert.ok(pulls > 0, `${name} never got anything`);
  }
  const sum = (of: (one: (typeof done)[number]) => number) => done.reduce((total, one) => total + of(one), 0);
  const [pushes, publishes] = [sum((one) => one.pushes), sum((one) => one.publishes)];
  const [prunes, repeated] = [sum((one) => one.prunes), sum((one) => one.repeated)];
  const acknowledged = done.flatMap((one) => one.acknowledged);
  t.diagnostic(
    `${pushes} pushes, ${publishes} publishes, ${prunes} prunes, ${kills} kills, ${repeated} calls repeated`,
  );
  assert.ok(kills >= OPERATIONS / 30, `only ${kills} kills`);

  await server.kill();
  await server.start();
  await assertNothingLost(server, acknowledged);
  for (const repo of ['store', 'repos/public']) {
    const path = join(server.data, repo);
    execFileSync('ostree', ['fsck', '--quiet', `--repo=${path}`], { stdio: 'pipe' });
    const leftovers = readdirSync(join(path, 'tmp')).filter(
      (name) => /^(treeline-|summary-)/.test(name) && !/\.lock$/.test(name),
    );
    assert.deepEqual(leftovers, [], `${repo}/tmp has something that nobody will finish`);
  }
});

async function channelsOf(server: TreelineServer): Promise<string[]> {
  try {
    const { releases } = await server.get<{ releases: { channel: string; state: string }[] }>('/releases?limit=1000');
    return [...new Set(releases.filter(({ state }) => state === 'published').map(({ channel }) => channel))];
  } catch {
    return [];
  }
}

/** Every release that the server has called published is so still, and each channel is at its newest. */
async function assertNothingLost(server: TreelineServer, acknowledged: readonly AcknowledgedRelease[]): Promise<void> {
  assert.ok(acknowledged.length > 0);
  type Listed = { number: number; state: string; channel: string; commit: string; current: boolean };
  const { releases } = await server.get<{ releases: Listed[] }>('/releases?limit=1000');
  const byNumber = new Map(releases.map((release) => [release.number, release]));
  for (const { number, channel, commit } of acknowledged) {
    const found = byNumber.get(number);
    // One that only confirmed what the channel had is no release of its own.
    if (!found) continue;
    assert.deepEqual([found.state, found.channel, found.commit], ['published', channel, commit], `release ${number}`);
  }
  const repo = `--repo=${join(server.data, 'repos/public')}`;
  for (const channel of CHANNELS) {
    const newest = acknowledged.filter((one) => one.channel === channel).at(-1);
    if (!newest) continue;
    assert.equal(execFileSync('ostree', ['rev-parse', channel, repo], { encoding: 'utf8' }).trim(), newest.commit);
    const summary = execFileSync('ostree', ['summary', '--view', repo], { encoding: 'utf8' });
    assert.ok(summary.includes(newest.commit), `the summary lacks ${newest.commit}`);
  }
}

async function killNowAndThen(
  server: TreelineServer,
  o: { outages: Outage[]; random: () => number; operations: () => number; signal: AbortSignal },
): Promise<number> {
  const { outages, random, operations, signal } = o;
  const [least, most] = KILL_AFTER;
  let kills = 0;
  for (;;) {
    const after = operations() + least + random() * (most - least);
    while (operations() < after && !signal.aborted) await sleep(20);
    await sleep(random() * KILL_WITHIN_MS, undefined, { signal }).catch(() => {});
    if (signal.aborted) break;
    const outage: Outage = { from: Date.now(), until: null };
    outages.push(outage);
    await server.kill();
    kills++;
    await server.start();
    outage.until = Date.now();
  }
  return kills;
}

/** The same numbers for the same seed (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
