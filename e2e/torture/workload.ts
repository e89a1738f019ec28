import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createRepo, PushConflict, push, type Repo, withTransaction, writeCommit, writeFolder } from '@treeline/ostree';
import type { TreelineServer } from '../testing/treeline-server.ts';

export interface AcknowledgedRelease {
  number: number;
  channel: string;
  commit: string;
}

/** What came of the workload. */
export interface Done {
  pushes: number;
  publishes: number;
  prunes: number;
  /** Calls that had to be made again because the server was killed. */
  repeated: number;
  acknowledged: AcknowledgedRelease[];
}

export interface WorkloadOptions {
  server: TreelineServer;
  /** Folder for the developer's tree and repository. */
  folder: string;
  /** What it publishes on: nobody else does. */
  channel: string;
  /** Pushes, publishes and prunes together. */
  operations: number;
  random: () => number;
  /** Ends it before its time. */
  signal: AbortSignal;
  /** The ref of the store that it pushes to. */
  ref: string;
  /** Told when the server has said yes to something. */
  onDone(): void;
  /** Told before a commit can become visible to anybody. */
  onRelease(commit: string): void;
}

const FILES = 300;
const CHANGED = 12;
/** How often each kind of work comes up. */
const PRUNE_SHARE = 0.08;
const PUSH_SHARE = 0.45;

/** Pushes commits, publishes them on a channel and prunes, in a random order, each until the server has said yes. */
export async function work(options: WorkloadOptions): Promise<Done> {
  const { operations, random, channel } = options;
  const developer = await Developer.begin(options);
  const done: Done = { pushes: 0, publishes: 0, prunes: 0, repeated: 0, acknowledged: [] };
  const call = new Caller(options, done);
  const pushed: string[] = [];
  for (let number = 0; number < operations && !options.signal.aborted; number++) {
    const dice = random();
    if (pushed.length === 0 || dice < PUSH_SHARE) {
      pushed.push(await call.untilItIsDone((url, token) => developer.push(url, token)));
      done.pushes++;
    } else if (dice < PUSH_SHARE + PRUNE_SHARE) {
      await call.post('/repositories/public/prune', {});
      await call.post('/store/prune', {});
      done.prunes++;
    } else {
      // Mostly the newest; now and then one of before, as when somebody takes a release back.
      const age = random() < 0.2 ? Math.floor(random() * Math.min(pushed.length, 4)) : 0;
      const commit = pushed.at(-1 - age)!;
      options.onRelease(commit);
      const release = await call.post<{ number: number; state: string }>('/publish', { commit, channel });
      if (release.state === 'published') done.acknowledged.push({ number: release.number, channel, commit });
      done.publishes++;
    }
    options.onDone();
  }
  return done;
}

/** A tree that changes a little with each commit. */
class Developer {
  readonly #tree: string;
  readonly #repo: Repo;
  readonly #random: () => number;
  readonly #ref: string;
  #version = 0;
  #commit: string | null = null;
  #pushed: string | null = null;

  private constructor(tree: string, repo: Repo, { random, ref }: WorkloadOptions) {
    this.#tree = tree;
    this.#repo = repo;
    this.#random = random;
    this.#ref = ref;
  }

  static async begin(options: WorkloadOptions): Promise<Developer> {
    const { folder } = options;
    const tree = join(folder, 'tree');
    for (let index = 0; index < FILES; index++) {
      mkdirSync(join(tree, `usr/share/part-${index % 20}`), { recursive: true });
      writeFileSync(fileOf(tree, index), `file ${index}\n`.repeat(50));
    }
    return new Developer(tree, await createRepo(join(folder, 'developer'), { mode: 'archive' }), options);
  }

  /** Pushes the next commit, or goes on with one of which nobody knows whether it arrived. */
  async push(url: string, token: string): Promise<string> {
    this.#commit ??= await this.#next();
    const headers = { authorization: `Bearer ${token}` };
    const options = { ref: this.#ref, rev: this.#commit, expect: this.#pushed, retries: 0, headers };
    const pushed = this.#commit;
    await push(this.#repo, `${url}/api/v1/push/`, options);
    this.#pushed = pushed;
    this.#commit = null;
    return pushed;
  }

  async #next(): Promise<string> {
    this.#version++;
    for (let changed = 0; changed < CHANGED; changed++) {
      const file = fileOf(this.#tree, Math.floor(this.#random() * FILES));
      writeFileSync(file, `version ${this.#version} ${this.#random()}\n`.repeat(200));
    }
    const parent = this.#pushed;
    return await withTransaction(this.#repo, async (tx) => {
      const tree = await writeFolder(tx, this.#tree);
      const subject = `version ${this.#version}`;
      const commit = await writeCommit(tx, { tree, subject, ...(parent === null ? {} : { parent }) });
      tx.setRef('main', commit);
      return commit;
    });
  }
}

function fileOf(tree: string, index: number): string {
  return join(tree, `usr/share/part-${index % 20}/file-${index}`);
}

/** Calls that are made again while the server is not there, as a person or a script would. */
class Caller {
  readonly #server: TreelineServer;
  readonly #signal: AbortSignal;
  readonly #done: Done;

  constructor({ server, signal }: WorkloadOptions, done: Done) {
    this.#server = server;
    this.#signal = signal;
    this.#done = done;
  }

  post<T>(path: string, body: object): Promise<T> {
    return this.untilItIsDone(() => this.#server.post<T>(path, body));
  }

  async untilItIsDone<T>(call: (url: string, token: string) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await call(this.#server.url, this.#server.token);
      } catch (error) {
        if (!isAbsence(error) || this.#signal.aborted) throw error;
        this.#done.repeated++;
        await sleep(100);
      }
    }
  }
}

/** Whether a call failed because nobody was there, or somebody went away in the middle. */
function isAbsence(error: unknown): boolean {
  if (error instanceof PushConflict) return false;
  const { code, message } = error as { code?: string; message: string };
  if (code === 'ENOENT') return true; // server.json, at the start
  return code === 'network' || /fetch failed|terminated|other side closed|ECONN|socket hang up|503/.test(message);
}
