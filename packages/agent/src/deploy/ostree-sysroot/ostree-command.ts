import { execFile } from 'node:child_process';
import { AgentError, systemCode } from '../../errors.ts';

const OUTPUT_LIMIT = 64 * 1024 * 1024;

/**
 * Runs `ostree` and gives back what it wrote.
 *
 * @throws AgentError `tool-missing`, or `deploy-failed` with ostree's own last words; the signal's reason on abort
 */
export function ostree(args: readonly string[], signal?: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      maxBuffer: OUTPUT_LIMIT,
      // Its messages are parsed, and read by people who search for them. GLib takes CHARSET for what names are written in,
      // which would be `?` for a letter that the locale does not have.
      env: { ...process.env, LC_ALL: 'C', CHARSET: 'UTF-8' },
      ...(signal === undefined ? {} : { signal }),
    };
    execFile('ostree', [...args], options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      if (signal?.aborted) return reject(signal.reason as Error);
      if (systemCode(error) === 'ENOENT') {
        return reject(
          new AgentError('tool-missing', 'ostree is not installed', { hint: 'apt-get install ostree', cause: error }),
        );
      }
      const words = stderr.trim().split('\n').slice(-3).join('; ') || error.message;
      reject(new AgentError('deploy-failed', `ostree ${args.slice(0, 2).join(' ')}: ${words}`, { cause: error }));
    });
  });
}

let setDefault: Promise<boolean> | null = null;

/** Whether this `ostree` can make any deployment the default one (since 2023). */
export function supportsSetDefault(): Promise<boolean> {
  setDefault ??= ostree(['admin', '--help']).then(
    (text) => /^\s+set-default\b/m.test(text),
    () => false,
  );
  return setDefault;
}
