import { lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { BoardError } from '../errors.ts';
import type { Console } from './console.ts';

/** Who attaches sees this much of what was printed before, so that the screen is not empty. */
const SHOWN_BEFORE = 4096;

/** A reader that is slower than the board by this much loses its connection, not the board its console. */
const MOST_BUFFERED = 8 * 1024 ** 2;

/**
 * The folder of the sockets of consoles on this machine, `<board>.sock` each: `treeline/consoles` below XDG_RUNTIME_DIR,
 * else below a folder of the user's own in /tmp. A socket's path must be shorter than 108 bytes, so it is no data folder.
 */
export function consoleFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const runtime = environment.XDG_RUNTIME_DIR;
  return join(runtime || `/tmp/treeline-${process.getuid?.() ?? 0}`, 'treeline', 'consoles');
}

/** The boards whose consoles can be attached to here. */
export async function listConsoles(folder = consoleFolder()): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  const found: string[] = [];
  for (const name of names.filter((name) => name.endsWith('.sock')).sort()) {
    const socket = await open(join(folder, name)).catch(() => null);
    // A killed process leaves its socket behind.
    if (socket === null) await rm(join(folder, name), { force: true });
    else found.push(name.slice(0, -'.sock'.length));
    socket?.destroy();
  }
  return found;
}

/** Connects to a board's console: what is read was printed by the board, what is written is typed. */
export async function attachConsole(name: string, folder = consoleFolder()): Promise<Socket> {
  try {
    return await open(join(folder, `${name}.sock`));
  } catch (cause) {
    const others = await listConsoles(folder);
    throw new BoardError('not-found', `there is no board "${name}" with a console on this machine`, {
      hint: others.length > 0 ? `There are: ${others.join(', ')}` : 'A console is there while its board is in use.',
      cause,
    });
  }
}

/** Lets others on this machine (of the same user) see and use a console; resolves to how to end that. */
export async function serveConsole(
  console: Console,
  { name, folder = consoleFolder() }: { name: string; folder?: string },
): Promise<() => Promise<void>> {
  await makePrivateFolder(folder);
  const path = join(folder, `${name}.sock`);
  const clients = new Set<Socket>();
  const server = createServer((client) => {
    clients.add(client);
    client.write(console.text(Math.max(0, console.mark() - SHOWN_BEFORE)));
    const stop = console.listen((chunk) => {
      if (client.writableLength > MOST_BUFFERED) client.destroy();
      else client.write(chunk);
    });
    client.on('data', (chunk) => console.write(chunk));
    client.on('error', () => {});
    client.on('close', () => {
      stop();
      clients.delete(client);
    });
  });
  const stale = await open(path).then(
    (socket) => {
      socket.destroy();
      return false;
    },
    () => true,
  );
  if (!stale) throw new BoardError('exists', `a board "${name}" is in use on this machine already`);
  await rm(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  server.unref();
  return async () => {
    for (const client of clients) client.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
    await rm(path, { force: true });
  };
}

/** A folder that nobody else can look into; in /tmp, somebody else may have made it before. */
async function makePrivateFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const stats = await lstat(folder);
  if (stats.isDirectory() && stats.uid === process.getuid?.() && (stats.mode & 0o077) === 0) return;
  throw new BoardError('invalid', `${folder} is not a folder of this user's alone`, {
    hint: 'Remove it, or set XDG_RUNTIME_DIR to a folder that only you can read.',
  });
}

function open(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => {
      socket.off('error', reject);
      resolve(socket);
    });
    socket.once('error', reject);
  });
}
