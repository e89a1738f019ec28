import type { Command } from 'commander';
import { type Client, createClient } from './connection/client.ts';
import { findServer, type GlobalOptions } from './connection/server.ts';

/** One call of the command: what ends it, what it may have to say when it is interrupted, and the way to the server. */
export type Session = {
  /** Aborted by SIGINT, SIGTERM and SIGHUP; not by SIGHUP where `reread` is set and there is still a terminal, or never was one. */
  readonly signal: AbortSignal;
  /** Set by a verb that runs for long: what it reads again at SIGHUP. */
  reread: (() => void) | undefined;
  /** Set by verbs that leave something behind when interrupted: what goes on, and how to come back to it. */
  interruptedHint: string | undefined;
  /** The API client, once a verb asked for it. */
  client: Client | undefined;
};

/** The options of a command with those of the whole program. */
export function optionsOf<T extends object>(command: Command): T & GlobalOptions {
  return command.optsWithGlobals<T & GlobalOptions>();
}

/** The client of the server that the options name; throws CliError `unreachable` when none is found. */
export function clientOf(session: Session, options: GlobalOptions): Client {
  session.client ??= createClient(findServer(options), { signal: session.signal });
  return session.client;
}
