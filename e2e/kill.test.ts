// Server, runner and agent are killed at random moments, again and again; in the end there are the same releases
// and the same board as where nobody was killed.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openRepo, readCommit } from '@treeline/ostree';
import { scratchFolder } from './testing/scratch.ts';
import { TreelineServer, treeline } from './testing/treeline-server.ts';

const ROUNDS = 6;
/** In this round the system's health check fails on the board. */
const BAD_ROUND = 3;

/** A system small enough to be made in a second: a shell with what it needs, a version, and a health check. */
const PIPELINE = `
jobs:
  base:
    image: host
    paths: [base.sh]
    run: sh base.sh
    outputs: { base: base }
  work:
    image: host
    paths: [version]
    run: |
      echo "working on $(cat version)"
      sleep 0.7
      mkdir -p "$OUT/work/usr/share"
      cp version "$OUT/work/usr/share/version"
    outputs: { work: work }
  system:
    compose:
      - tree: base
      - tree: work
      - source: health
        at: /usr/lib/treeline/check/required.d
    output: system
  test:
    image: system
    paths: [version]
    run: |
      read -r version < /usr/share/version
      test -n "$version"
publish:
  - artifact: system
    channel: robot/edge
    after: [test]
`;

const BASE = `set -eu
mkdir -p "$OUT/base/bin" "$OUT/base/usr/etc"
cp /bin/dash "$OUT/base/bin/sh"
for library in $(ldd /bin/dash | grep -o '/[^ ]*'); do
  mkdir -p "$OUT/base$(dirname "$library")"
  cp -L "$library" "$OUT/base$library"
done
for folder in usr/bin proc dev tmp var run; do mkdir -p "$OUT/base/$folder"; done
`;

class Line {
  readonly server: TreelineServer;
  readonly board: string;
  readonly #clone: string;
  readonly #origin: string;

  constructor(folder: string) {
    this.server = new TreelineServer(join(folder, 'data'));
    this.board = join(folder, 'board');
    this.#clone = join(folder, 'clone');
    this.#origin = join(folder, 'origin.git');
  }

  async begin(): Promise<void> {
    this.#git('init', '--quiet', '--bare', '--initial-branch=main', this.#origin);
    this.#git('init', '--quiet', '--initial-branch=main', this.#clone);
    mkdirSync(join(this.#clone, 'health'));
    writeFileSync(join(this.#clone, 'treeline.yaml'), PIPELINE);
    writeFileSync(join(this.#clone, 'base.sh'), BASE);
    this.push(0);
    await this.server.start();
    await this.server.post('/projects', { name: 'robot', url: this.#origin });
    await this.released(0);
    const { token } = await this.server.post<{ token: string }>('/enrolment-tokens', { channel: 'robot/edge' });
    const args = ['--board', this.board, '--gateway', this.server.gateway, '--id', 'robot-1', '--token', token];
    const { status, output } = await treeline(['agent', 'enrol', ...args]);
    assert.equal(status, 0, output);
    await this.updateBoard(0);
  }

  #git(...args: string[]): void {
    const identity = ['-c', 'user.name=Test', '-c', 'user.email=test@example.org'];
    const env = { ...process.env, GIT_COMMITTER_DATE: '2026-01-01T00:00:00Z', GIT_AUTHOR_DATE: '2026-01-01T00:00:00Z' };
    execFileSync('git', [...identity, ...args], { stdio: 'pipe', env });
  }

  push(round: number): void {
    writeFileSync(join(this.#clone, 'version'), `round ${round}\n`);
    const check = round === BAD_ROUND ? 'echo "this system is bad"; exit 3' : 'exit 0';
    writeFileSync(join(this.#clone, 'health/10-check'), `#!/bin/sh\n${check}\n`, { mode: 0o755 });
    this.#git('-C', this.#clone, 'add', '--all');
    this.#git('-C', this.#clone, 'commit', '--quiet', '-m', `round ${round}`);
    this.#git('-C', this.#clone, 'push', '--quiet', this.#origin, 'HEAD:main');
  }

  /** Waits until the channel has the release of a round. */
  async released(round: number): Promise<void> {
    for (let tries = 0; tries < 600; tries++) {
      if ((await this.versions().catch(() => [])).at(-1) === `round ${round}`) return;
      await sleep(100);
    }
    const { runs } = await this.server.get<{ runs: unknown[] }>('/runs?limit=3');
    assert.fail(`round ${round} was not released:\n${JSON.stringify(runs, null, 1)}\n${this.server.log.slice(-3000)}`);
  }

  /** The subjects of the revisions that the channel's releases were made from, oldest first. */
  async versions(): Promise<string[]> {
    const { releases } = await this.server.get<{ releases: { commit: string; state: string; number: number }[] }>(
      '/releases?channel=robot/edge',
    );
    const published = releases.filter(({ state }) => state === 'published').sort((a, b) => a.number - b.number);
    const subjects: string[] = [];
    for (const { commit } of published) {
      const { provenance } = await this.server.get<{ provenance: { sources: { subject: string }[] } }>(
        `/commits/${commit}`,
      );
      subjects.push(provenance.sources[0]!.subject);
    }
    return subjects;
  }

  async trees(): Promise<string[]> {
    const { releases } = await this.server.get<{ releases: { commit: string; state: string; number: number }[] }>(
      '/releases?channel=robot/edge',
    );
    const repo = await openRepo(join(this.server.data, 'repos/public'));
    const published = releases.filter(({ state }) => state === 'published').sort((a, b) => a.number - b.number);
    return Promise.all(published.map(async ({ commit }) => (await readCommit(repo, commit)).tree.contents));
  }

  async updateBoard(round: number): Promise<void> {
    const { status, output } = await treeline(['agent', 'run', '--once', '--board', this.board]);
    assert.equal(status, round === BAD_ROUND ? 1 : 0, output);
  }

  /** What the board runs, as far as anybody can see from outside. */
  boardVersion(): string {
    return readFileSync(join(this.board, 'sysroot/boot/default/usr/share/version'), 'utf8').trim();
  }
}

test('whoever is killed whenever: the same releases, and the same board', async (t) => {
  const folder = scratchFolder(t);
  const [calm, wild] = [join(folder, 'calm'), join(folder, 'wild')].map((path) => {
    mkdirSync(path);
    return new Line(path);
  }) as [Line, Line];
  t.after(async () => {
    await calm.server.kill();
    await wild.server.kill();
  });

  await calm.begin();
  for (let round = 1; round <= ROUNDS; round++) {
    calm.push(round);
    await calm.released(round);
    await calm.updateBoard(round);
  }
  const expected = { trees: await calm.trees(), board: calm.boardVersion() };
  await calm.server.stop();

  await wild.begin();
  for (let round = 1; round <= ROUNDS; round++) {
    wild.push(round);
    await sleep(Math.random() * 1500);
    if (round % 3 !== 0) {
      await wild.server.kill();
      await wild.server.start();
    }
    await sleep(Math.random() * 1200);
    if (round % 2 === 1) await wild.server.killRunner();
    await wild.released(round);
    // The agent is killed ever later until it gets to the end by itself.
    let killed = 0;
    for (let limit = 150 + Math.random() * 150; limit < 2500; limit += 150 + Math.random() * 250) {
      const { status } = await treeline(['agent', 'run', '--once', '--board', wild.board], {
        signal: AbortSignal.timeout(Math.round(limit)),
      });
      if (status !== null) break;
      killed++;
    }
    t.diagnostic(`round ${round}: the agent was killed ${killed} times`);
    const { status, output } = await treeline(['agent', 'run', '--once', '--board', wild.board]);
    assert.ok(status === 0 || round === BAD_ROUND, output);
    assert.equal(wild.boardVersion(), round === BAD_ROUND ? `round ${round - 1}` : `round ${round}`);
  }

  assert.deepEqual(await wild.trees(), expected.trees);
  assert.equal(wild.boardVersion(), expected.board);
  const { devices } = await wild.server.get<{ devices: { id: string; state: string }[] }>('/devices');
  assert.deepEqual(
    devices.map(({ id, state }) => [id, state]),
    [['robot-1', 'good']],
  );
  await wild.server.stop();
  for (const repo of ['store', 'repos/public']) {
    execFileSync('ostree', ['fsck', `--repo=${join(wild.server.data, repo)}`], { stdio: 'pipe' });
  }
});
