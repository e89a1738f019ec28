import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** An nginx of one's own, on loopback. */
export interface Nginx {
  url: string;
  port: number;
  stop(): Promise<void>;
}

/**
 * Starts nginx with everything that it writes in one folder.
 *
 * @param http what belongs into its `http` block; `PORT` and `FOLDER` in it are replaced
 */
export async function startNginx(folder: string, http: string): Promise<Nginx> {
  mkdirSync(folder, { recursive: true });
  const port = await freePort();
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `  ${kind}_temp_path ${folder}/${kind};`)
    .join('\n');
  // Started by root, nginx would read files as nobody, who may not see a folder of the test's.
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  const configuration = `
daemon off;
${user}
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
  const file = join(folder, 'nginx.conf');
  writeFileSync(file, configuration);
  const errors = join(folder, 'error.log');
  const nginx = spawn('nginx', ['-p', folder, '-c', file, '-e', errors], { stdio: ['ignore', 'ignore', 'inherit'] });
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; ; tries++) {
    if (nginx.exitCode !== null || tries === 600) throw new Error(`nginx did not come up: see ${errors}`);
    if (await fetch(url).catch(() => null)) break;
    await sleep(50);
  }
  return {
    url,
    port,
    async stop() {
      if (nginx.exitCode !== null || nginx.signalCode !== null) return;
      const ended = once(nginx, 'exit');
      nginx.kill('SIGTERM');
      await ended;
    },
  };
}

/**
 * A port of loopback that nobody listens on just now. It lies below those which the kernel gives to whoever asks for any:
 * a server which is killed and started again on it finds it as it was.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_768);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.on('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
}
