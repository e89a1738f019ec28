import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { OstreeError } from '../errors.ts';
import { type PushHandlerOptions, pushHandler } from '../push/handler.ts';
import { PushReceiver, type PushReceiverOptions } from '../push/receiver.ts';
import { createRepo, type Repo } from '../repo/repo.ts';

/** A receiver behind a server, which says what was asked of it. */
export interface ReceivingServer {
  url: string;
  repo: Repo;
  receiver: PushReceiver;
  server: Server;
  /** `METHOD path` of every request so far. */
  requests: string[];
  close(): Promise<void>;
}

export interface ReceivingOptions extends PushReceiverOptions {
  repo?: Repo;
  handler?: Partial<PushHandlerOptions>;
  /** Called with every request before it is answered; false: it is answered already. */
  before?: (request: IncomingMessage) => boolean;
}

/** The caller is whom `x-caller` names; `x-may-not` names what he may not. */
export async function receivingServer(
  t: TestContext,
  base: string,
  options: ReceivingOptions = {},
): Promise<ReceivingServer> {
  const repo = options.repo ?? (await createRepo(join(base, 'store')));
  const receiver = await PushReceiver.open(repo, options);
  const handle = pushHandler(receiver, {
    caller: ({ headers }) => ({
      name: String(headers['x-caller'] ?? 'somebody'),
      demand(action, ref) {
        if (headers['x-may-not'] === action) throw new OstreeError('forbidden', `you may not ${action} ${ref}`);
      },
    }),
    ...options.handler,
  });
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    if (options.before && !options.before(request)) return;
    void handle(request, response, (request.url ?? '/').slice(1));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await receiver.close();
  };
  t.after(close);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    repo,
    receiver,
    server,
    requests,
    close,
  };
}
