import { chmod, cp, lutimes, mkdir, readdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { bundleAgent } from './bundle.ts';

/** What lies beside the code and goes into the layer as it is, laid out from /. */
const FILES = join(import.meta.dirname, 'files');
const UNITS = 'usr/lib/systemd/system';

/** Units that a target starts: links in /usr, so that no tool has to be run for them in a tree that nobody has booted. */
const WANTED: ReadonlyArray<[target: string, unit: string]> = [
  ['multi-user.target', 'treeline-agent.service'],
  ['sysinit.target', 'treeline-boot-deadline.timer'],
  ['emergency.target', 'treeline-boot-deadline.timer'],
  ['rescue.target', 'treeline-boot-deadline.timer'],
];

const PROGRAMS = ['usr/bin/treeline-agent', 'usr/lib/treeline/boot-deadline'];

/**
 * Makes the layer `treeline/agent`: what a system tree needs of the agent, laid out from / in `folder`, which must be
 * missing or empty. It needs Node 18 or newer (`nodejs`) and `ostree` in the tree that it is composed with. The same
 * sources give the same bytes, modes and times.
 */
export async function buildAgentLayer(folder: string): Promise<void> {
  const { code, licences } = await bundleAgent();
  await cp(FILES, folder, { recursive: true });
  const put = async (path: string, text: string) => {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  };
  await put('usr/lib/treeline/agent.js', code);
  await put('usr/share/doc/treeline-agent/licences.txt', licences);
  for (const [target, unit] of WANTED) {
    const wants = join(folder, UNITS, `${target}.wants`);
    await mkdir(wants, { recursive: true });
    await symlink(`../${unit}`, join(wants, unit));
  }
  await setModes(folder, '');
}

/** Modes and times as they are to be, whatever the umask and the clone: folders and programs 755, other files 644. */
async function setModes(folder: string, below: string): Promise<void> {
  const path = join(folder, below);
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const inside = below === '' ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory()) {
      await setModes(folder, inside);
    } else if (entry.isFile()) {
      await chmod(join(folder, inside), PROGRAMS.includes(inside) ? 0o755 : 0o644);
      await utimes(join(folder, inside), 0, 0);
    } else {
      await lutimes(join(folder, inside), 0, 0);
    }
  }
  await chmod(path, 0o755);
  await utimes(path, 0, 0);
}
