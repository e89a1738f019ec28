import { spawn } from 'node:child_process';
import {
  chmodSync,
  createWriteStream,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where Debian's package `ostree-tests` puts libostree's own tests. */
const SUITE = '/usr/libexec/installed-tests/libostree';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** The scripts that try the command line; those about `ostree admin` are about deployments. */
export function suiteScripts(): string[] {
  return readdirSync(SUITE)
    .filter((name) => /^test-.*\.sh$/.test(name) && !name.includes('admin'))
    .sort();
}

export interface ScriptResult {
  name: string;
  /** `skipped` is the script's own decision, for the stock tool as well. */
  outcome: 'passed' | 'failed' | 'skipped' | 'timed out';
  /** Checks (TAP `ok` lines) that passed, without those that were skipped. */
  checks: number;
  seconds: number;
  /** What the script printed. */
  log: string;
}

/** Makes a folder with a program `ostree` that is `treeline repo`, but for what Treeline has no verbs for. */
export function makeShim(folder: string): void {
  mkdirSync(folder, { recursive: true });
  const shim = join(folder, 'ostree');
  const node = join(root, 'node_modules/node/bin/node');
  // Called by this name, treeline stands in for it.
  mkdirSync(join(folder, 'treeline'), { recursive: true });
  const treeline = join(folder, 'treeline/ostree');
  symlinkSync(join(root, 'packages/cli/bin/treeline.js'), treeline);
  writeFileSync(
    shim,
    [
      '#!/bin/sh',
      'for argument; do',
      '  case $argument in',
      '    -*) ;;',
      '    admin | trivial-httpd) exec /usr/bin/ostree "$@" ;;',
      '    *) break ;;',
      '  esac',
      'done',
      `exec '${node}' '${treeline}' "$@"`,
      '',
    ].join('\n'),
  );
  chmodSync(shim, 0o755);
}

export interface RunOptions {
  /** Folder of the shim, or null to run with the stock tool. */
  shim: string | null;
  timeoutSeconds: number;
  logFile: string;
  /** Shows the output as it comes. */
  verbose?: boolean;
}

/** Runs one script as it wants to be run: in an empty folder, with an environment of its own. */
export async function runScript(name: string, options: RunOptions): Promise<ScriptResult> {
  const work = mkdtempSync(join(tmpdir(), 'libostree-test-'));
  const system = '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin';
  const began = performance.now();
  const log = createWriteStream(options.logFile);
  try {
    const child = spawn('bash', [join(SUITE, name)], {
      cwd: work,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        HOME: work,
        PATH: options.shim ? `${options.shim}:${system}` : system,
        G_TEST_SRCDIR: SUITE,
        G_TEST_BUILDDIR: SUITE,
        OSTREE_FEATURES: 'libcurl libsoup gpgme',
      },
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.pipe(log, { end: false });
      if (options.verbose) stream.pipe(process.stderr, { end: false });
    }
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      process.kill(-child.pid!, 'SIGKILL');
    }, options.timeoutSeconds * 1000);
    // The script's servers hold its output open, so that its own end is what counts.
    const code = await new Promise<number | null>((resolve) => child.once('exit', resolve));
    clearTimeout(timer);
    endGroup(child.pid!);
    child.stdout.destroy();
    child.stderr.destroy();
    await new Promise<void>((resolve) => log.end(resolve));
    const text = await readFile(options.logFile, 'utf8');
    const lines = text.split('\n');
    const checks = lines.filter((line) => /^ok\b/.test(line) && !/# *skip/i.test(line)).length;
    const skipped = checks === 0 && lines.some((line) => /^1\.\.0\b.*skip|^ok\b.*# *skip/i.test(line));
    const seconds = (performance.now() - began) / 1000;
    const outcome = timedOut ? 'timed out' : code !== 0 ? 'failed' : skipped ? 'skipped' : 'passed';
    return { name, outcome, checks, seconds, log: text };
  } finally {
    // What is being ended may still write there.
    rmSync(work, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** Ends what a script left running. */
function endGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGTERM');
  } catch {
    // nothing was left
  }
}
