import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { until } from '@treeline/ostree/testing/until.ts';
import type { RunDetail } from '../api/schema.ts';
import type { BuiltInMakers } from '../built-ins/built-ins.ts';
import { ServerError } from '../errors.ts';
import { type RunningServer, startServer } from '../server.ts';
import { loadSettings, type SettingsFragment } from '../settings.ts';
import { scratch } from './scratch.ts';

/** A real server in this process, on free ports, without a runner process. */
export interface TestServer extends RunningServer {
  dataDir: string;
  adminToken: string;
  runnerToken: string;
  /** Calls the API as admin. */
  call(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }>;
  /** Calls the API and expects success. */
  get<T>(path: string): Promise<T>;
  post<T>(path: string, body?: unknown): Promise<T>;
  /** Waits until a run has ended. */
  runEnd(id: string): Promise<RunDetail>;
  /** Adds a project without starting a run. */
  addProject(name: string, url: string): Promise<void>;
}

export async function startTestServer(
  t: Pick<TestContext, 'after'>,
  fragment: SettingsFragment = {},
  builtIns: BuiltInMakers = {},
): Promise<TestServer> {
  const dataDir = fragment.dataDir ?? join(scratch(t), 'data');
  const settings = loadSettings(
    { port: 0, gatewayPort: 0, runner: false, pollSeconds: 3600, logLevel: 'silent', hostImage: 'test-host' },
    { dataDir },
    fragment,
  );
  const server = await startServer(settings, { builtIns });
  t.after(() => server.close());
  return connect(server, dataDir);
}

/** A client for a server that runs, in this process or another. */
export function connect(server: RunningServer, dataDir: string): TestServer {
  const adminToken = readFileSync(join(dataDir, 'admin-token'), 'utf8').trim();
  const runnerToken = readFileSync(join(dataDir, 'runner-token'), 'utf8').trim();
  const call = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(`${server.localUrl}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${adminToken}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text === '' ? null : (JSON.parse(text) as unknown) };
  };
  const succeed = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    const answer = await call(method, path, body);
    if (answer.status < 300) return answer.body as T;
    throw new ServerError('internal', `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  };
  return {
    ...server,
    dataDir,
    adminToken,
    runnerToken,
    call,
    get: (path) => succeed('GET', path),
    post: (path, body) => succeed('POST', path, body),
    async runEnd(id) {
      let run: RunDetail;
      const isOver = async () => {
        run = await succeed<RunDetail>('GET', `/runs/${id}`);
        return run.state !== 'running';
      };
      await until(isOver, `the end of run ${id}`);
      return run!;
    },
    async addProject(name, url) {
      await succeed('POST', '/projects', { name, url, run: false });
    },
  };
}
