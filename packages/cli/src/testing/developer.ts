import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import {
  createRepo,
  type Metadata,
  openRepo,
  type Repo,
  StatOverrides,
  withTransaction,
  writeCommit,
  writeFolder,
} from '@treeline/ostree';
import { type CommandOptions, type Ended, treeline } from './command.ts';

/** A developer with a data folder in which there is a store with a system, and nothing else: no server runs. */
export interface Developer {
  folder: string;
  env: Record<string, string>;
  /** The commit of the system in the store. */
  system: string;
  /** Where workspaces are kept track of. */
  home: string;
  /** The repository that commits go to. */
  repo(): Promise<Repo>;
  /** Runs a verb and expects it to go well; its stdout. */
  does(...args: string[]): Promise<string>;
  run(args: string[], options?: CommandOptions): Promise<Ended>;
  json<T>(...args: string[]): Promise<T>;
  /** A workspace with the system. */
  checkout(name: string, ...options: string[]): Promise<string>;
}

const PROGRAMS = ['dash', 'cat', 'ls', 'id', 'stty', 'sleep', 'chmod'];

export async function developer(t: Pick<TestContext, 'after'>): Promise<Developer> {
  const folder = mkdtempSync(join(tmpdir(), 'treeline-cli-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const home = join(folder, 'mine');
  const env = { TREELINE_DATA: join(folder, 'data'), TREELINE_WORKSPACES: home };
  const store = await createRepo(join(folder, 'data/store'), { mode: 'archive' });
  const system = await commitSystem(store, join(folder, 'system'));
  const run = (args: string[], options: CommandOptions = {}) =>
    treeline(args, { ...options, env: { ...env, ...options.env } });
  const does = async (...args: string[]) => {
    const { code, stdout, stderr } = await run(args);
    assert.deepEqual([code, stderr], [0, ''], args.join(' '));
    return stdout;
  };
  return {
    ...{ folder, env, system, home, run, does },
    repo: () => openRepo(join(home, 'repo')),
    json: async <T>(...args: string[]) => JSON.parse(await does(...args, '--json')) as T,
    async checkout(name, ...options) {
      const path = join(folder, name);
      await does('checkout', '--user-mode', ...options, system, path);
      return path;
    },
  };
}

/** A shell with a few programs, settings below /usr/etc, and what only root can have. */
async function commitSystem(store: Repo, root: string): Promise<string> {
  const add = (path: string, text: string, mode = 0o644) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text, { mode });
  };
  for (const program of PROGRAMS) {
    const path = `/usr/bin/${program}`;
    const libraries = execFileSync('ldd', [path], { encoding: 'utf8' }).match(/\/\S+/g) ?? [];
    for (const one of [path, ...libraries]) {
      const to = join(root, 'usr', one.replace(/^\/usr\//, '/'));
      mkdirSync(dirname(to), { recursive: true });
      execFileSync('cp', ['--dereference', one, to]);
    }
  }
  symlinkSync('dash', join(root, 'usr/bin/sh'));
  for (const name of ['bin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, join(root, name));
  symlinkSync('var/roothome', join(root, 'root'));
  add('usr/etc/hostname', 'robot\n');
  add('usr/etc/speed', 'slow\n');
  add('usr/bin/sudo', 'pretends\n', 0o755);
  add('usr/share/doc', 'text\n');
  mkdirSync(join(root, 'usr/lib/modules/6.1'), { recursive: true });
  const bootable: Metadata = [['ostree.bootable', { type: 'b', value: true }]];
  return withTransaction(store, async (tx) => {
    // =MODE sets, in decimal: 2541 is 04755.
    const statOverrides = StatOverrides.parse(`=${0o4755} /usr/bin/sudo\n`);
    const tree = await writeFolder(tx, root, { owner: { uid: 0, gid: 0 }, statOverrides });
    return writeCommit(tx, { tree, subject: 'The system', metadata: bootable });
  });
}

/** What is at a path, in a form that two folders can be compared by. */
export function glance(path: string): string {
  const stats = lstatSync(path);
  if (stats.isSymbolicLink()) return `-> ${readlinkSync(path)}`;
  return stats.isDirectory() ? 'folder' : `${(stats.mode & 0o7777).toString(8)} ${readFileSync(path, 'utf8')}`;
}
