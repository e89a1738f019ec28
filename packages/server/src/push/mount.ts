import type { IncomingMessage, ServerResponse } from 'node:http';
import { type PushCaller, type PushLimits, type PushReceiver, pushHandler } from '@treeline/ostree';
import type { Authenticator } from '../access/authenticator.ts';
import { type Caller, demand } from '../access/caller.ts';
import type { Core } from '../core.ts';
import type { Settings } from '../settings.ts';
import { answerOf } from './answers.ts';
import { recordMove } from './record.ts';
import { pushCaller } from './refs.ts';

const PREFIX = '/api/v1/push/';

/** What pushes may take, by the settings. */
export function pushLimits(settings: Settings): PushLimits {
  return {
    sessionBytes: settings.pushBytes,
    totalBytes: settings.pushTotalBytes,
    sessionsPerOwner: settings.pushesPerCaller,
    idleMs: settings.pushIdleHours * 3_600_000,
  };
}

export interface PushDeps {
  core: Core;
  receiver: PushReceiver;
  authenticator: Authenticator;
}

/**
 * Pushes into the store, below /api/v1/push/. Ahead of the API's framework, since bodies are streams of any length.
 *
 * @returns a handler that says whether the request was its own; the answer is then on its way.
 */
export function pushMount({
  core,
  receiver,
  authenticator,
}: PushDeps): (req: IncomingMessage, res: ServerResponse) => boolean {
  const callers = new WeakMap<PushCaller, Caller>();
  const handle = pushHandler(receiver, {
    async caller(request) {
      const caller = authenticator.authenticate(request, { basic: true });
      // What the store has need not be sent, so whoever pushes can make what he names his own: knowing a checksum must
      // grant nothing that he may not read anyway.
      demand(caller, 'read');
      const pushing = pushCaller(caller);
      callers.set(pushing, caller);
      return pushing;
    },
    record: (pushing, move, apply) => recordMove(core, callers.get(pushing)!, move, apply),
    answer: (error) => answerOf(error, core.log),
  });
  return (req, res) => {
    const path = (req.url ?? '/').split('?', 1)[0]!;
    if (!path.startsWith(PREFIX)) return false;
    void handle(req, res, path.slice(PREFIX.length));
    return true;
  };
}
