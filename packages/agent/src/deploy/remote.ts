import type { Agent } from 'node:https';
import type { TransferSize } from '../gateway/transfer-size.ts';

/** The gateway as a source of releases: where it is, and what proves both sides to each other. */
export interface Remote {
  /** `https://host:port`. */
  gateway: string;
  /** Files, as libostree wants them. */
  files: { cert: string; key: string; ca: string };
  /** PEM texts. */
  tls: { cert: string; key: string; ca: string };
  /** Connections that have proved to be the gateway's. */
  agent: Agent;
  /** Check-in headers. */
  headers: () => Record<string, string>;
  /**
   * How much of a commit travels to a holder of others; null where the server cannot say.
   *
   * @throws AgentError `unreachable`, `refused`
   */
  size(commit: string, held: readonly string[], signal?: AbortSignal): Promise<TransferSize | null>;
}
