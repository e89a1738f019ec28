import type { CheckResult } from './checks.ts';
import { runProgram } from './program.ts';

const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8', SYSTEMD_COLORS: '0', SYSTEMD_PAGER: '' };
const LOOK_MS = 20_000;

/**
 * Waits until systemd has started what it starts, so that no check judges a system that is half there. One that never
 * gets so far is judged as it is.
 */
export async function waitForSystem(limitMs: number, signal?: AbortSignal): Promise<void> {
  const command = ['systemctl', 'is-system-running', '--wait'];
  await runProgram(command, { timeoutMs: limitMs, environment: ENVIRONMENT, signal }).catch((error: unknown) => {
    if (signal?.aborted) throw error;
  });
}

/** A check that every systemd has: units that failed are told, and decide nothing. Null where systemd does not answer. */
export async function checkUnits(signal?: AbortSignal): Promise<CheckResult | null> {
  const began = Date.now();
  const command = ['systemctl', 'list-units', '--state=failed', '--plain', '--no-legend', '--full'];
  try {
    const { exitCode, timedOut, output } = await runProgram(command, {
      ...{ timeoutMs: LOOK_MS, environment: ENVIRONMENT, signal },
    });
    if (exitCode !== 0) return null;
    const passed = output.trim() === '';
    return {
      ...{ kind: 'wanted', path: 'systemd: failed units', passed, timedOut, output },
      ...{ exitCode: passed ? 0 : 1, milliseconds: Date.now() - began },
    };
  } catch (error) {
    if (signal?.aborted) throw error;
    return null;
  }
}
