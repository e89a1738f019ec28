import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

export type PlayedJob = { id: number; definition: string; state: string; health: string; log: string };

/** A server that plays LAVA's REST API 0.2 as far as a board uses it: for tests of what is asked and how answers are read. */
export type PlayedLava = {
  url: string;
  token: string;
  jobs: PlayedJob[];
  requests: string[];
  /** Answers every call with this status; null: as it should. */
  status: number | null;
  /** What the jobs' suites say: `suite` to tests to results. */
  results: Record<string, Record<string, string>>;
  close: () => Promise<void>;
};

export async function playLava(): Promise<PlayedLava> {
  const server = createServer((request, response) => {
    void answer(request).then(({ status, body }) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(typeof body === 'string' ? body : JSON.stringify(body));
    });
  });

  const answer = async (request: IncomingMessage): Promise<{ status: number; body: unknown }> => {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const place = `${request.method} ${request.url}`;
    lava.requests.push(place);
    if (lava.status !== null) return { status: lava.status, body: { detail: 'as told' } };
    if (request.headers.authorization !== `Token ${lava.token}`)
      return { status: 401, body: { detail: 'who are you' } };
    if (place === 'POST /api/v0.2/jobs/') {
      const { definition } = JSON.parse(text) as { definition: string };
      const job = { id: 40 + lava.jobs.length, definition, state: 'Submitted', health: 'Unknown', log: '' };
      lava.jobs.push(job);
      return { status: 201, body: { message: 'job(s) successfully submitted', job_ids: [String(job.id)] } };
    }
    const [, id, rest] = /^GET \/api\/v0\.2\/jobs\/(\d+)\/(.*)$/.exec(place) ?? [];
    const job = lava.jobs.find((one) => String(one.id) === id);
    if (!job) return { status: 404, body: { detail: 'Not found.' } };
    if (rest === '') return { status: 200, body: job };
    if (rest === 'logs/') return { status: 200, body: job.log };
    if (rest === 'cancel/') {
      job.state = 'Finished';
      job.health = 'Canceled';
      return { status: 200, body: { message: 'Job cancel signal sent.' } };
    }
    const suites = Object.keys(lava.results);
    if (rest === 'suites/') {
      return {
        status: 200,
        body: { count: suites.length, results: suites.map((name, index) => ({ id: index + 1, name })) },
      };
    }
    const suite = suites[Number(/^suites\/(\d+)\/tests\/$/.exec(rest ?? '')?.[1]) - 1];
    if (suite === undefined) return { status: 404, body: { detail: 'Not found.' } };
    const tests = Object.entries(lava.results[suite] ?? {}).map(([name, result]) => ({ name, result }));
    return { status: 200, body: { count: tests.length, results: tests } };
  };

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const lava: PlayedLava = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    token: 'lab-token',
    jobs: [],
    requests: [],
    status: null,
    results: {},
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  return lava;
}
