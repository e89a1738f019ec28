import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, chmod, mkdir, rm, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { filesBelow, gatherRealTree } from '../real-tree.ts';
import { median } from '../statistics.ts';
import type { Bench, Command, Measured, Suite } from '../suite.ts';

const cli = resolve(import.meta.dirname, '../../packages/cli/bin/treeline.js');

export const suite: Suite = { title: "engine: `treeline repo` against Debian's `ostree`", run };

async function run(bench: Bench): Promise<void> {
  const { scratch, prepare, say } = bench;
  const peer = `ostree ${/Version: '?([\d.]+)/.exec(await prepare('ostree', '--version'))?.[1] ?? '?'}`;
  const path = (name: string) => join(scratch, name);
  const repository = { ours: path('ours'), theirs: path('theirs') };

  say('Gathering a tree of real files …');
  const tree = await gatherRealTree(path('tree'), { files: 40_000, bytes: 800e6 }, prepare);
  const megabytes = (tree.bytes / 1e6).toFixed(0);
  bench.remark(`Tree: ${tree.files} files, ${megabytes} MB, from ${tree.sources.join(', ')}.`);
  say(`${tree.files} files, ${megabytes} MB. Reading it once, so that no run pays for the disk …`);
  await prepare('find', tree.path, '-type', 'f', '-exec', 'cksum', '{}', '+');

  const commitArguments = (into: string) =>
    ['commit', `--repo=${into}`, '--branch=main', '--subject=A real tree', `--tree=dir=${tree.path}`] as const;

  const commit = await bench.measure({
    name: 'commit into a new archive repository',
    peer,
    goal: 2,
    memory: true,
    ours: {
      command: treeline(...commitArguments(repository.ours)),
      before: () => newRepository(bench, repository.ours),
    },
    theirs: {
      command: ['ostree', ...commitArguments(repository.theirs)],
      before: () => newRepository(bench, repository.theirs),
    },
    check: sameTree,
  });
  if (commit) {
    await addSizes(bench, repository, peer);
    await addLimits(bench, tree.path, commit);
  }
  await ensureCommit(repository.theirs);

  if (!commit) await newRepository(bench, repository.ours);
  await bench.measure({
    name: 'commit again, nothing changed',
    peer,
    goal: 20,
    memory: true,
    ours: { command: treeline(...commitArguments(repository.ours)) },
    theirs: { command: ['ostree', ...commitArguments(repository.theirs)] },
    check: sameTree,
  });

  await commitChangedFiles(bench, tree.path, repository.theirs);
  const diffArguments = ['diff', `--repo=${repository.theirs}`, 'main', 'changed'] as const;
  await bench.measure({
    name: 'diff of two commits, 20 files changed',
    peer,
    memory: true,
    // Milliseconds: more runs cost nothing and steady the median.
    runs: Math.max(bench.runs, 11),
    ours: { command: treeline(...diffArguments) },
    theirs: { command: ['ostree', ...diffArguments] },
    check: async (ours, theirs) => {
      const [a, b] = [ours, theirs].map(({ stdout }) => stdout.trim().split('\n').sort().join('\n'));
      if (a !== b) throw new ResultsDiffer(`diff says\n${a}\nand\n${b}`);
    },
  });

  await prepare('ostree', 'summary', `--repo=${repository.theirs}`, '--update');
  const url = await serve(bench, repository.theirs);
  const pulled = { ours: path('pulled-ours'), theirs: path('pulled-theirs') };
  const pullArguments = (into: string) => ['pull', `--repo=${into}`, 'origin', 'main'] as const;
  await bench.measure({
    name: 'pull over loopback HTTP into archive',
    peer,
    memory: true,
    ours: {
      command: treeline(...pullArguments(pulled.ours)),
      before: () => newRepository(bench, pulled.ours, url),
    },
    theirs: {
      command: ['ostree', ...pullArguments(pulled.theirs)],
      before: () => newRepository(bench, pulled.theirs, url),
    },
    check: async () => {
      const [a, b] = await Promise.all(
        [pulled.ours, pulled.theirs].map(async (into) => {
          const revision = await prepare('ostree', 'rev-parse', `--repo=${into}`, 'origin:main');
          const objects = await prepare('find', join(into, 'objects'), '-type', 'f', '-printf', '%P\n');
          return `${revision.trim()} with ${objects.trim().split('\n').length} objects`;
        }),
      );
      if (a !== b) throw new ResultsDiffer(`pulled ${a} and ${b}`);
    },
  });

  /** Both commits must be of the same bytes, modes, owners and xattrs: their trees' checksums say so. */
  async function sameTree(): Promise<void> {
    const [ours, theirs] = await Promise.all(
      [repository.ours, repository.theirs].map((repo) => prepare('ostree', 'ls', `--repo=${repo}`, '-d', '-C', 'main')),
    );
    if (ours !== theirs) throw new ResultsDiffer(`committed ${ours?.trim()} and ${theirs?.trim()}`);
  }

  async function ensureCommit(into: string): Promise<void> {
    if (existsSync(join(into, 'refs/heads/main'))) return;
    say('Committing the tree, unmeasured …');
    await newRepository(bench, into);
    await prepare('ostree', ...commitArguments(into));
  }
}

class ResultsDiffer extends Error {}

function treeline(...args: string[]): Command {
  return [process.execPath, cli, 'repo', ...args];
}

/** libostree makes the repository for both, so that both start from the same configuration: its defaults. */
async function newRepository({ prepare }: Bench, path: string, remote?: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
  await prepare('ostree', 'init', `--repo=${path}`, '--mode=archive');
  if (remote) await prepare('ostree', 'remote', 'add', `--repo=${path}`, '--no-gpg-verify', 'origin', remote);
}

/** Speed bought with worse compression would not be speed: what the repositories weigh belongs beside it. */
async function addSizes(bench: Bench, repository: { ours: string; theirs: string }, peer: string): Promise<void> {
  const bytes = async (path: string) => Number((await bench.prepare('du', '-s', '-b', path)).split('\t')[0]);
  bench.add({
    measure: 'size of the committed repository',
    unit: 'MB',
    ours: (await bytes(repository.ours)) / 1e6,
    theirs: (await bytes(repository.theirs)) / 1e6,
    peer,
    goal: null,
    runs: 1,
  });
}

/** How far the commit is from the least work that it could be. A ratio of 1 is the limit itself. */
async function addLimits(bench: Bench, tree: string, commit: Measured): Promise<void> {
  const script = resolve(import.meta.dirname, '../limit.ts');
  const ours = commit.ours.map((sample) => sample.seconds);
  for (const kind of ['sha256', 'sha256+deflate']) {
    const theirs: number[] = [];
    for (let i = 0; i < Math.min(3, bench.runs); i += 1) {
      theirs.push((await bench.run({ command: [process.execPath, script, tree, kind] })).seconds);
    }
    bench.say(`limit ${kind}: ${median(theirs).toFixed(2)} s`);
    bench.add({
      measure: 'commit, distance to the limit',
      unit: 's',
      ours: median(ours),
      theirs: median(theirs),
      peer: `${kind} only, Node, ${availableParallelism()} threads`,
      goal: null,
      runs: theirs.length,
      samples: { ours, theirs },
    });
  }
}

/** Commits the tree again with 20 of its files changed, as branch `changed`, by laying them over the first commit. */
async function commitChangedFiles({ scratch, prepare }: Bench, tree: string, into: string): Promise<void> {
  const overlay = join(scratch, 'overlay');
  await rm(overlay, { recursive: true, force: true });
  await mkdir(overlay);
  const files: string[] = [];
  for await (const file of filesBelow(tree)) files.push(relative(tree, file));
  const step = Math.floor(files.length / 20);
  for (let i = 0; i < 20; i += 1) {
    const file = files[i * step] ?? '';
    await prepare('sh', '-c', 'cd "$1" && cp -a --parents "$2" "$3"', 'sh', tree, file, overlay);
    const copy = join(overlay, file);
    const { mode } = await stat(copy);
    await chmod(copy, mode | 0o200);
    await appendFile(copy, 'changed\n');
    await chmod(copy, mode);
  }
  const trees = ['--tree=ref=main', `--tree=dir=${overlay}`];
  await prepare('ostree', 'commit', `--repo=${into}`, '--branch=changed', '--subject=20 files changed', ...trees);
}

/** Serves a repository from a process of its own until the suite ends; gives its address. */
async function serve(bench: Bench, path: string): Promise<string> {
  const script = resolve(import.meta.dirname, '../repository-server.ts');
  const server = spawn(process.execPath, [script, path], { stdio: ['pipe', 'pipe', 'inherit'] });
  bench.atEnd(async () => void server.stdin.end());
  return await new Promise((resolveUrl, reject) => {
    server.stdout.once('data', (chunk: Buffer) => resolveUrl(chunk.toString('utf8').trim()));
    server.once('exit', (code) => reject(new ServerEnded(`the repository server ended with exit code ${code}`)));
  });
}

class ServerEnded extends Error {}
