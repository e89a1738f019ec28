import { execFile } from 'node:child_process';

/** What systemd is told of the agent, where it started it; elsewhere nothing happens. */
export interface Supervisor {
  ready(): Promise<void>;
  /** One line for `systemctl status`. */
  status(text: string): Promise<void>;
  /** Begins to say that the agent is alive, as long as `isAlive` says so. */
  watch(isAlive: () => boolean): void;
  close(): void;
}

/**
 * Speaks to systemd by `systemd-notify`: Node has no datagram sockets in the file system. The unit says
 * `NotifyAccess=all`, because the message comes from a process of its own.
 */
export function createSupervisor(environment: NodeJS.ProcessEnv = process.env): Supervisor {
  const supervised = environment.NOTIFY_SOCKET !== undefined;
  const limit = Number(environment.WATCHDOG_USEC ?? '') / 1000;
  let timer: NodeJS.Timeout | null = null;
  const notify = (...words: string[]) =>
    new Promise<void>((resolve) => {
      if (!supervised) return resolve();
      // Without an answer nothing is lost that the watchdog would not see.
      execFile('systemd-notify', words, { timeout: 10_000 }, () => resolve());
    });
  return {
    ready: () => notify('--ready'),
    status: (text) => notify(`--status=${text}`),
    watch(isAlive) {
      if (!supervised || !(limit > 0)) return;
      timer = setInterval(() => {
        if (isAlive()) void notify('WATCHDOG=1');
      }, limit / 2.5);
      timer.unref();
    },
    close() {
      if (timer !== null) clearInterval(timer);
    },
  };
}
