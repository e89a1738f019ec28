import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench } from '../suite.ts';

/** An nginx of one's own, on loopback, until the suite ends. */
export interface Nginx {
  url: string;
  /** Its access log. */
  log: string;
}

/**
 * Starts nginx in a folder of its own, with as many workers as there are cores.
 *
 * @param http what belongs into its `http` block; `PORT` and `FOLDER` in it are replaced
 */
export async function startNginx(bench: Bench, name: string, http: string): Promise<Nginx> {
  const folder = join(bench.scratch, `nginx-${name}`);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const port = await freePort();
  const log = join(folder, 'access.log');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${folder}/${kind};`)
    .join('\n');
  const configuration = `
daemon off;
worker_processes auto;
pid ${folder}/pid;
error_log ${folder}/error.log warn;
events { worker_connections 1024; }
http {
  ${temporary}
  default_type application/octet-stream;
  ${http.replaceAll('PORT', String(port)).replaceAll('FOLDER', folder)}
}
`;
  await writeFile(join(folder, 'nginx.conf'), configuration);
  const nginx = spawn('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', join(folder, 'error.log')], {
    stdio: 'inherit',
  });
  bench.atEnd(async () => {
    const ended = once(nginx, 'exit');
    nginx.kill('SIGTERM');
    await ended;
  });
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; tries < 100; tries++) {
    if (nginx.exitCode !== null) throw new NginxEnded(`nginx ended with ${nginx.exitCode}`);
    const answer = await fetch(url).catch(() => null);
    if (answer) return { url, log };
    await sleep(50);
  }
  throw new NginxEnded('nginx does not answer');
}

class NginxEnded extends Error {}

/** A port of loopback that nobody listens on just now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address ? address.port : 0;
}
