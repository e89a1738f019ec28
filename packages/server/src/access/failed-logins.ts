import type { Logger } from 'pino';
import type { AuditLog } from './audit.ts';

/** Failures are written down at most so often, summed up. */
const EVERY_MS = 60_000;
/** The first after a quiet time is written so soon. */
const FIRST_MS = 1000;
/** Addresses that get an entry of their own each time; what comes from others is one more entry. */
const MOST_ADDRESSES = 20;

/** Counts failed logins for the audit log, at a bounded rate whatever arrives. */
export interface FailedLogins {
  /** `token`: id of the token that was named, if there is one. */
  note(address: string | null, token: string | null): void;
  /** Writes down what was counted. */
  flush(): Promise<void>;
}

export function createFailedLogins({
  audit,
  log,
  now = Date.now,
}: {
  audit: AuditLog;
  log: Pick<Logger, 'error'>;
  now?: () => number;
}): FailedLogins {
  let counts = new Map<string, { count: number; tokens: Set<string> }>();
  let elsewhere = 0;
  let timer: NodeJS.Timeout | null = null;
  let last = -Infinity;

  const flush = async (): Promise<void> => {
    if (timer) clearTimeout(timer);
    timer = null;
    if (counts.size === 0) return;
    last = now();
    const [noted, others] = [counts, elsewhere];
    counts = new Map();
    elsewhere = 0;
    for (const [address, { count, tokens }] of noted) {
      const data = { count, ...(tokens.size === 0 ? {} : { tokens: [...tokens] }) };
      const caller = { name: 'nobody', address: address === '' ? null : address };
      await audit.record({ caller, action: 'login.failed', subject: address || 'unknown', data });
    }
    if (others > 0) {
      const caller = { name: 'nobody', address: null };
      await audit.record({ caller, action: 'login.failed', subject: 'other addresses', data: { count: others } });
    }
  };

  return {
    flush,
    note(address, token) {
      const entry = counts.get(address ?? '') ?? { count: 0, tokens: new Set() };
      if (entry.count === 0 && counts.size >= MOST_ADDRESSES) elsewhere += 1;
      else {
        entry.count += 1;
        if (token !== null && entry.tokens.size < 5) entry.tokens.add(token);
        counts.set(address ?? '', entry);
      }
      timer ??= setTimeout(
        () => void flush().catch((error) => log.error({ err: error }, 'failed logins could not be written down')),
        Math.max(FIRST_MS, last + EVERY_MS - now()),
      ).unref();
    },
  };
}
