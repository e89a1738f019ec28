// Stock clients: this machine's `ostree`, and that of the next Debian release in a root file system of its own.
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** What came of one command. */
export interface Outcome {
  status: number;
  output: string;
}

/** A stock `ostree`. */
export interface OstreeClient {
  /** For messages: `Debian 12, libostree 2022.7`. */
  readonly name: string;
  /** Runs it to its end; `folder` is what it can write to. */
  ostree(folder: string, ...args: string[]): Promise<Outcome>;
}

/** The machine's own. */
export function machineClient(): OstreeClient {
  return { name: describe(execFileSync('ostree', ['--version'], { encoding: 'utf8' })), ostree: started('ostree', []) };
}

/** One with ed25519 signatures, which Debian's have not: built by scripts/ostree-ed25519.sh into a folder. */
export function ed25519Client(prefix: string): OstreeClient {
  const command = [`LD_LIBRARY_PATH=${prefix}/lib`, `${prefix}/bin/ostree`];
  const version = execFileSync('env', [...command, '--version'], { encoding: 'utf8' });
  if (!version.includes('sign-ed25519')) throw new Error(`${prefix}: this libostree has no ed25519`);
  return { name: `${describe(version)} with ed25519`, ostree: started('env', command) };
}

const TRIXIE = resolve(import.meta.dirname, '../../.cache/e2e/trixie-ostree');

/**
 * Debian 13's `ostree` with its libraries, unpacked once (a quarter of a minute, 110 MB) and entered by bubblewrap: only
 * the folder that it is given is shared.
 */
export function trixieClient(): OstreeClient {
  unpackTrixie();
  const box = [
    '--ro-bind',
    TRIXIE,
    '/',
    '--proc',
    '/proc',
    '--dev',
    '/dev',
    '--tmpfs',
    '/tmp',
    '--tmpfs',
    '/var/tmp',
    '--die-with-parent',
  ];
  const version = execFileSync('bwrap', [...box, 'ostree', '--version'], { encoding: 'utf8' });
  return {
    name: describe(version),
    ostree(folder, ...args) {
      return started('bwrap', [...box, '--bind', folder, folder, '--chdir', folder, 'ostree'])(folder, ...args);
    },
  };
}

/**
 * Writes a program `ostree` into a folder, for the PATH of others: Debian 13's with its own libraries, on this machine's
 * files. Answers its name and version.
 */
export function writeTrixieProgram(folder: string): string {
  unpackTrixie();
  const libraries = `${TRIXIE}/usr/lib/x86_64-linux-gnu`;
  const command = [`${libraries}/ld-linux-x86-64.so.2`, '--library-path', libraries, `${TRIXIE}/usr/bin/ostree`];
  const quoted = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  writeFileSync(join(folder, 'ostree'), `#!/bin/sh\nexec ${quoted} "$@"\n`, { mode: 0o755 });
  return describe(execFileSync(join(folder, 'ostree'), ['--version'], { encoding: 'utf8' }));
}

function unpackTrixie(): void {
  if (existsSync(TRIXIE)) return;
  const fresh = `${TRIXIE}.${process.pid}`;
  mkdirSync(join(fresh, '..'), { recursive: true });
  const include = '--include=base-files,ostree,gnupg,ca-certificates,coreutils';
  const source =
    'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main';
  try {
    execFileSync('mmdebstrap', ['--quiet', '--variant=extract', include, 'trixie', fresh, source], { stdio: 'pipe' });
    renameSync(fresh, TRIXIE);
  } catch (error) {
    // Another test file may have been quicker.
    if (!existsSync(TRIXIE)) throw error;
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

function describe(version: string): string {
  return `libostree ${/Version: '?([\d.]+)/.exec(version)?.[1] ?? 'of an unknown version'}`;
}

function started(program: string, first: readonly string[]): OstreeClient['ostree'] {
  return async (_folder, ...args) => {
    try {
      const { stdout, stderr } = await run(program, [...first, ...args], { maxBuffer: 64 * 2 ** 20 });
      return { status: 0, output: stdout + stderr };
    } catch (error) {
      const { code, stdout, stderr } = error as { code?: number | string; stdout?: string; stderr?: string };
      if (typeof code !== 'number') throw error;
      return { status: code, output: `${stdout ?? ''}${stderr ?? ''}` };
    }
  };
}
