import type { Settings } from './settings.ts';

export interface RunningServer {
  /** Base URL of the API, `http://127.0.0.1:8420`. */
  url: string;
  /** Base URL of the device gateway. */
  gatewayUrl: string;
  /** Ends everything in order; unfinished work continues at the next start. */
  close(): Promise<void>;
}

/** Starts the server: see `settings.ts` for what can be set. */
export async function startServer(settings: Settings): Promise<RunningServer> {
  throw new Error(`not wired yet: ${settings.dataDir}`);
}
