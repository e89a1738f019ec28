import { execFile, spawn } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';

const run = promisify(execFile);

/** Makes a new empty database and returns its URL. */
export type NewDatabase = () => Promise<string>;

/**
 * Declares the same tests on SQLite and on a real PostgreSQL server, which is started for them in a temporary folder.
 * PostgreSQL is skipped, and says so, only where it is not installed.
 */
export function describeDatabases(name: string, tests: (fresh: NewDatabase) => void): void {
  describe(`${name} on SQLite`, () => {
    const folder = mkdtempSync(join(tmpdir(), 'treeline-sqlite-'));
    let count = 0;
    after(() => rmSync(folder, { recursive: true, force: true }));
    tests(async () => `sqlite:${join(folder, `${count++}.db`)}`);
  });
  const bin = postgresFolder();
  const skip = bin === null ? 'PostgreSQL is not installed here: apt install postgresql' : false;
  describe(`${name} on PostgreSQL`, { skip }, () => {
    let server: PostgresServer;
    before(async () => {
      server = await startPostgres(bin!);
    });
    after(() => server?.stop());
    tests(() => server.fresh());
  });
}

/** Folder of initdb and postgres; Debian keeps them off the PATH. */
function postgresFolder(): string | null {
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [...versions.map((version) => join(debian, version, 'bin')), ...(process.env.PATH ?? '').split(':')];
  return folders.find((folder) => ['initdb', 'postgres'].every((file) => existsSync(join(folder, file)))) ?? null;
}

interface PostgresServer {
  fresh: NewDatabase;
  stop(): Promise<void>;
}

async function startPostgres(bin: string): Promise<PostgresServer> {
  const folder = mkdtempSync(join(tmpdir(), 'treeline-postgres-'));
  // PostgreSQL refuses to run as root; Debian's package makes this user.
  const asRoot = userInfo().uid === 0;
  if (asRoot) {
    const [uid, gid] = [await idOf('-u'), await idOf('-g')];
    chownSync(folder, uid, gid);
  }
  const command = (file: string, args: string[]): [string, string[]] =>
    asRoot
      ? ['setpriv', ['--reuid=postgres', '--regid=postgres', '--clear-groups', join(bin, file), ...args]]
      : [join(bin, file), args];
  const data = join(folder, 'data');
  await run(...command('initdb', ['-D', data, '-U', 'treeline', '-A', 'trust', '-E', 'UTF8', '--no-sync']), {
    cwd: folder,
  });
  const settings = ['listen_addresses=', `unix_socket_directories=${folder}`, 'fsync=off', 'max_connections=50'];
  const server = spawn(...command('postgres', ['-D', data, ...settings.flatMap((setting) => ['-c', setting])]), {
    cwd: folder,
    stdio: 'ignore',
  });
  const url = (name: string) => `postgres://treeline@localhost/${name}?host=${folder}`;
  const ask = async (sql: string): Promise<void> => {
    const client = new pg.Client({ connectionString: url('postgres') });
    await client.connect();
    try {
      await client.query(sql);
    } finally {
      await client.end();
    }
  };
  for (let left = 600; ; left -= 1) {
    try {
      await ask('select 1');
      break;
    } catch (error) {
      if (left === 0) throw error;
      await setTimeout(100);
    }
  }
  let count = 0;
  return {
    async fresh() {
      const name = `test_${count++}`;
      await ask(`create database ${name}`);
      return url(name);
    },
    async stop() {
      if (server.exitCode === null) {
        const ended = new Promise((resolve) => server.once('exit', resolve));
        server.kill('SIGINT');
        await ended;
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function idOf(option: '-u' | '-g'): Promise<number> {
  const { stdout } = await run('id', [option, 'postgres']);
  return Number(stdout.trim());
}
