import { spawn } from 'node:child_process';
import { appendFile, chmod, mkdir, rm, stat } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { openRepo, readCommit, resolveRev, withTransaction, writeCommit } from '@treeline/ostree';
import { filesBelow, gatherRealTree, type RealTree } from '../real-tree.ts';
import type { Bench } from '../suite.ts';
import { newRepository } from './peers.ts';

/** What measures start from, each made when the first of them asks for it. Repositories are made by ostree. */
export class Fixtures {
  readonly bench: Bench;
  readonly peer: string;
  readonly #made = new Map<string, Promise<unknown>>();

  constructor(bench: Bench, peer: string) {
    this.bench = bench;
    this.peer = peer;
  }

  path(name: string): string {
    return join(this.bench.scratch, name);
  }

  #once<T>(name: string, make: () => Promise<T>): Promise<T> {
    const made = this.#made.get(name) ?? make();
    this.#made.set(name, made);
    return made as Promise<T>;
  }

  /** Real files, read once, so that no run pays for the disk. */
  tree(): Promise<RealTree> {
    return this.#once('tree', async () => {
      const { prepare, say, remark, small } = this.bench;
      say('Gathering a tree of real files …');
      const wanted = small ? { files: 300, bytes: 1e6 } : { files: 40_000, bytes: 800e6 };
      const from = small ? ['/usr/share/perl5', '/usr/share/doc/*'] : undefined;
      const tree = await gatherRealTree(this.path('tree'), wanted, prepare, from);
      const megabytes = (tree.bytes / 1e6).toFixed(0);
      const sources = tree.sources.length > 6 ? [...tree.sources.slice(0, 6), '…'] : tree.sources;
      remark(`Tree: ${tree.files} files, ${megabytes} MB, from ${sources.join(', ')}.`);
      say(`${tree.files} files, ${megabytes} MB. Reading it once …`);
      await prepare('find', tree.path, '-type', 'f', '-exec', 'cksum', '{}', '+');
      return tree;
    });
  }

  /** Files of the tree at equal distances, as paths below it. */
  async someFiles(count: number): Promise<string[]> {
    const tree = await this.tree();
    const files = await this.#once('files', async () => {
      const all: string[] = [];
      for await (const file of filesBelow(tree.path)) all.push(relative(tree.path, file));
      return all;
    });
    const step = Math.max(1, Math.floor(files.length / count));
    return Array.from({ length: Math.min(count, files.length) }, (_, index) => files[index * step]!);
  }

  /** An archive repository with the tree as `main`, and a summary. */
  committed(): Promise<string> {
    return this.#once('committed', async () => {
      const { bench } = this;
      const path = this.path('committed');
      const tree = await this.tree();
      bench.say('Committing the tree, unmeasured …');
      await newRepository(bench, path);
      await bench.prepare(
        'ostree',
        'commit',
        `--repo=${path}`,
        '-b',
        'main',
        '-s',
        'A real tree',
        `--tree=dir=${tree.path}`,
      );
      await bench.prepare('ostree', 'summary', `--repo=${path}`, '--update');
      return path;
    });
  }

  /** The same, and the tree with 20 files changed as `changed`. */
  changed(): Promise<string> {
    return this.#once('changed', async () => {
      const path = await this.committed();
      const overlay = await this.overlay('overlay', await this.someFiles(20), 'changed\n');
      const trees = ['--tree=ref=main', `--tree=dir=${overlay}`];
      await this.bench.prepare(
        'ostree',
        'commit',
        `--repo=${path}`,
        '-b',
        'changed',
        '-s',
        '20 files changed',
        ...trees,
      );
      return path;
    });
  }

  /** A folder with copies of some files of the tree, each with something added. */
  async overlay(name: string, files: readonly string[], added: string): Promise<string> {
    const tree = await this.tree();
    const { prepare } = this.bench;
    const overlay = this.path(name);
    await rm(overlay, { recursive: true, force: true });
    await mkdir(overlay);
    for (let at = 0; at < files.length; at += 500) {
      const some = files.slice(at, at + 500);
      await prepare('sh', '-c', 'cd "$1" && shift && cp -a --parents "$@"', 'sh', tree.path, ...some, overlay);
    }
    for (const file of files) await append(join(overlay, file), added);
    return overlay;
  }

  /** A bare-user repository with the tree as `main`: checkouts are hard links to it. */
  bareUser(): Promise<string> {
    return this.#once('bare-user', async () => {
      const path = this.path('bare-user');
      const from = await this.committed();
      await newRepository(this.bench, path, { mode: 'bare-user' });
      await this.bench.prepare('ostree', 'pull-local', `--repo=${path}`, from, 'main');
      return path;
    });
  }

  /** An archive repository with as many branches, each the tree with its own 300 files changed. */
  branches(count: number): Promise<string> {
    return this.#once('branches', async () => {
      const path = this.path('branches');
      const { prepare, say } = this.bench;
      say(`Making a repository of ${count} branches …`);
      await rm(path, { recursive: true, force: true });
      await prepare('cp', '-al', await this.committed(), path);
      const files = await this.someFiles(300 * count);
      for (let index = 0; index < count; index++) {
        const own = files.filter((_, at) => at % count === index);
        const overlay = await this.overlay('branch', own, `branch ${index}\n`);
        const trees = ['--tree=ref=main', `--tree=dir=${overlay}`];
        await prepare('ostree', 'commit', `--repo=${path}`, '-b', `branch/${index}`, '-s', 'own', ...trees);
      }
      await prepare('ostree', 'refs', `--repo=${path}`, '--delete', 'main');
      return path;
    });
  }

  /** An archive repository of so many refs, each a commit of its own. */
  refs(count: number): Promise<string> {
    return this.#once('refs', async () => {
      const path = this.path('refs');
      await newRepository(this.bench, path);
      const repo = await openRepo(path);
      await withTransaction(repo, async (tx) => {
        const tree = tx.emptyTree();
        for (let index = 0; index < count; index++) {
          const subject = `ref ${index}`;
          tx.setRef(`app/number-${index}/stable`, await writeCommit(tx, { tree, subject, timestamp: 1 + index }));
        }
      });
      return path;
    });
  }

  /** Address of a process that serves a repository until the suite ends. */
  async serve(repository: string): Promise<string> {
    return this.#once(`serve ${repository}`, async () => {
      const script = resolve(import.meta.dirname, '../repository-server.ts');
      const server = spawn(process.execPath, [script, repository], { stdio: ['pipe', 'pipe', 'inherit'] });
      this.bench.atEnd(async () => void server.stdin.end());
      return await new Promise<string>((resolveUrl, reject) => {
        server.stdout.once('data', (chunk: Buffer) => resolveUrl(chunk.toString('utf8').trim()));
        server.once('exit', (code) => reject(new ServerEnded(`the repository server ended with exit code ${code}`)));
      });
    });
  }
}

/** Adds something to a file that may be read-only; its permissions stay. */
export async function append(file: string, text: string): Promise<void> {
  const { mode } = await stat(file);
  await chmod(file, mode | 0o200);
  await appendFile(file, text);
  await chmod(file, mode);
}

/** Sets a ref to a new commit of the same tree. */
export async function touchRef(path: string, ref: string, subject: string): Promise<void> {
  const repo = await openRepo(path);
  const parent = await resolveRev(repo, ref);
  const { tree } = await readCommit(repo, parent);
  await withTransaction(repo, async (tx) =>
    tx.setRef(ref, await writeCommit(tx, { tree, parent, subject, timestamp: 1e9 })),
  );
}

class ServerEnded extends Error {}
