import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { runCommand } from './process.ts';

/** One line that says what the numbers were measured on. */
export async function describeMachine(scratch: string): Promise<string> {
  const memory = (totalmem() / 2 ** 30).toFixed(0);
  const fileSystem = await runCommand(['stat', '-f', '-c', '%T', scratch]);
  return [
    `${availableParallelism()} × ${cpus()[0]?.model.trim() ?? process.arch}`,
    `${memory} GiB`,
    fileSystem.trim(),
    systemName(),
    `Linux ${(await runCommand(['uname', '-r'])).trim()}`,
    `Node ${process.versions.node}`,
  ].join(', ');
}

function systemName(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? process.platform;
  } catch {
    return process.platform;
  }
}
