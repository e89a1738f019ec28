import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '@treeline/ostree/testing/free-port.ts';

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
