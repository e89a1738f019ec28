import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '@treeline/ostree/testing/free-port.ts';

export const treelineBin = fileURLToPath(new URL('../../packages/cli/bin/treeline.js', import.meta.url));

/** A `treeline up` of its own, which a test may kill and start again on the same data. */
export class TreelineServer {
  readonly data: string;
  #child: ChildProcess | undefined;
  #log = '';
  /** The same at each start: devices know the gateway by its address. */
  #ports: [api: number, gateway: number] | undefined;

  readonly #options: readonly string[];

  /** `options` are further ones of `treeline up`. */
  constructor(data: string, options: readonly string[] = []) {
    this.data = data;
    this.#options = options;
  }

  get log(): string {
    return this.#log;
  }

  /** Starts it and waits until it answers. */
  async start(): Promise<void> {
    rmSync(join(this.data, 'server.json'), { force: true });
    this.#ports ??= [await freePort(), await freePort()];
    const [api, gateway] = this.#ports.map(String) as [string, string];
    const args = ['up', '--data', this.data, '--port', api, '--gateway-port', gateway, '--poll', '1', ...this.#options];
    const child = spawn(process.execPath, [treelineBin, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        this.#log += chunk.toString();
      });
    }
    for (let tries = 0; tries < 600; tries++) {
      if (child.exitCode !== null) throw new Error(`treeline up ended with ${child.exitCode}:\n${this.#log}`);
      if (existsSync(join(this.data, 'server.json')) && (await this.#healthy())) return;
      await sleep(50);
    }
    throw new Error(`treeline up does not answer:\n${this.#log}`);
  }

  async #healthy(): Promise<boolean> {
    try {
      return (await fetch(`${this.url}/api/v1/health`)).ok;
    } catch {
      return false;
    }
  }

  get url(): string {
    return (JSON.parse(readFileSync(join(this.data, 'server.json'), 'utf8')) as { url: string }).url;
  }

  get gateway(): string {
    return (JSON.parse(readFileSync(join(this.data, 'server.json'), 'utf8')) as { gateway: string }).gateway;
  }

  /** Ends it as power loss would. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  /** Kills the embedded runner, if there is one right now. */
  async killRunner(): Promise<void> {
    const { embedded } = await this.get<{ embedded: { pid: number | null } }>('/runners');
    if (embedded.pid === null) return;
    try {
      process.kill(embedded.pid, 'SIGKILL');
    } catch {
      // it has just ended by itself
    }
  }

  async get<T>(path: string): Promise<T> {
    return this.#call<T>(path, {});
  }

  async post<T>(path: string, body: object): Promise<T> {
    return this.#call<T>(path, { method: 'POST', body: JSON.stringify(body) });
  }

  async patch<T>(path: string, body: object): Promise<T> {
    return this.#call<T>(path, { method: 'PATCH', body: JSON.stringify(body) });
  }

  /** The admin token. */
  get token(): string {
    return readFileSync(join(this.data, 'admin-token'), 'utf8').trim();
  }

  async #call<T>(path: string, init: RequestInit): Promise<T> {
    const headers = { authorization: `Bearer ${this.token}`, 'content-type': 'application/json' };
    const response = await fetch(`${this.url}/api/v1${path}`, { ...init, headers });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  }
}

/** Runs the CLI to its end; `signal` may kill it on the way. */
export async function treeline(
  args: string[],
  options: { signal?: AbortSignal } = {},
): Promise<{ status: number | null; output: string }> {
  const child = spawn(process.execPath, [treelineBin, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const kill = () => child.kill('SIGKILL');
  options.signal?.addEventListener('abort', kill);
  const [status] = (await once(child, 'close')) as [number | null];
  options.signal?.removeEventListener('abort', kill);
  return { status, output };
}
