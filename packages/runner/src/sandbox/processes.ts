import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Kills a process until it is gone. A number that was given to another process meanwhile is left alone. Once the first
 * process of a PID namespace is gone, so are all others in it: the kernel reaps them before.
 */
export async function killUntilGone(pid: number, startTime: string | null): Promise<void> {
  if (startTime === null) return;
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, 50)) {
    const now = await processStat(pid);
    if (now === null || now.startTime !== startTime || now.state === 'Z' || now.state === 'X') return;
    signalProcess(pid);
    await sleep(waitMs);
  }
}

/** State and start time of a process, or null when it is gone. */
export async function processStat(pid: number): Promise<{ state: string; startTime: string } | null> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => null);
  if (stat === null) return null;
  // Fields after the name in parentheses, which may hold anything: state is field 3, start time field 22.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', startTime: fields[19] ?? '' };
}

/**
 * Kills all processes whose environment has an entry that starts with `entry`, until none is left. Finds those that
 * left their process group, which only an unsandboxed job's can.
 */
export async function killByEnvironment(entry: string): Promise<void> {
  for (let round = 0; round < 100; round++) {
    const pids = await processesWith(entry);
    if (pids.length === 0) return;
    for (const pid of pids) signalProcess(pid);
    await sleep(10);
  }
}

async function processesWith(entry: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^[0-9]+$/.test(name) || Number(name) === process.pid) continue;
    const environment = await readFile(`/proc/${name}/environ`, 'utf8').catch(() => '');
    if (!environment.split('\0').some((one) => one.startsWith(entry))) continue;
    if ((await processStat(Number(name)))?.state !== 'Z') found.push(Number(name));
  }
  return found;
}

function signalProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone in the meantime.
  }
}
