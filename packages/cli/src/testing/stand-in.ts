import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Request = {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
  body: unknown;
};

/** What the stand-in answers with: a JSON value, or a function that writes the response itself. */
export type Answer = object | ((request: Request, response: ServerResponse) => void);

export type StandIn = AsyncDisposable & { url: string; requests: Request[]; args: string[] };

/** An HTTP server that answers `METHOD path` (below /api/v1/) as told, and 404 otherwise as the real one does. */
export async function standIn(answers: Record<string, Answer>): Promise<StandIn> {
  const requests: Request[] = [];
  async function answerOne(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = '';
    for await (const chunk of incoming) text += chunk;
    const url = new URL(incoming.url ?? '/', 'http://localhost');
    const path = decodeURIComponent(url.pathname.replace(/^\/api\/v1\//, ''));
    const method = incoming.method ?? 'GET';
    const body: unknown = text === '' ? undefined : JSON.parse(text);
    const request = { method, path, query: url.searchParams, headers: incoming.headers, body };
    requests.push(request);
    const answer = answers[`${method} ${path}`];
    if (typeof answer === 'function') {
      answer(request, response);
      return;
    }
    const error = { error: { code: 'not-found', message: `There is no ${path}.`, requestId: 'r-1' } };
    response.writeHead(answer ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer ?? error));
  }
  const server = createServer((incoming, response) => void answerOne(incoming, response));
  // None is closed just when the next request goes out on it.
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    requests,
    args: ['--server', url, '--token', 'secret'],
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
