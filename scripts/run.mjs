// `npm run TASK` ends up here. A fresh machine has some Node and nothing else, so this file is plain JavaScript
// without dependencies and runs on Node 18: it installs what the task needs and is not there yet, then hands over
// to Node 24 (the npm package `node`), which runs the task's TypeScript.

import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** They run programs that are made for Arm, where the machine is another one. */
const armPrograms = ['qemu-user-static', 'binfmt-support'];

/** What each task starts, and the Debian packages without which it, with these arguments, cannot do its work. */
const tasks = {
  quickstart: {
    script: 'scripts/quickstart/main.ts',
    debian: ['ostree', 'bubblewrap', 'git', 'libdeflate0', 'python3'],
  },
  test: {
    script: 'scripts/test.ts',
    debian: [
      'ostree',
      'ostree-tests',
      'bubblewrap',
      'git',
      'git-lfs',
      'attr',
      'bmap-tools',
      'bzip2',
      'cpio',
      'curl',
      'dosfstools',
      'e2fsprogs',
      'gdisk',
      'gnupg',
      'grub-common',
      'grub-efi-amd64-bin',
      'libdeflate0',
      'mmdebstrap',
      'mtools',
      'nginx',
      'openssl',
      'ovmf',
      'postgresql',
      'procps',
      'python3',
      'qemu-system-arm',
      'qemu-system-x86',
      'systemd-boot-efi',
      'u-boot-qemu',
      'u-boot-tools',
      'xfsprogs',
      'xz-utils',
      'zstd',
    ],
  },
  'e2e:board': {
    script: 'e2e/board/main.ts',
    debian: (args) => [
      'ostree',
      'bubblewrap',
      'git',
      'dosfstools',
      'e2fsprogs',
      'gdisk',
      'libdeflate0',
      'mmdebstrap',
      'mtools',
      'uidmap',
      ...(args.includes('--aarch64')
        ? ['qemu-system-arm', 'u-boot-qemu', 'u-boot-tools', ...(process.arch === 'arm64' ? [] : armPrograms)]
        : ['grub-common', 'grub-efi-amd64-bin', 'ovmf', 'qemu-system-x86']),
    ],
  },
  check: { script: 'scripts/check.ts', debian: [] },
  bench: {
    script: 'bench/main.ts',
    debian: (args) => [
      ...['ostree', 'libdeflate0', 'mmdebstrap', 'nginx', 'rsync', 'time', 'xdelta3', 'zstd'],
      // The suite `board` is a run of that, measured.
      ...(args.includes('board') ? tasks['e2e:board'].debian([]) : []),
    ],
  },
  docs: { script: 'scripts/docs.ts', debian: [] },
  package: { script: 'scripts/package.ts', debian: [] },
  fuzz: { script: 'packages/ostree/src/testing/fuzz/main.ts', debian: [] },
};

/** A package counts as there when one of these is: looking for files costs no process and works off Debian too. */
const proof = {
  attr: ['setfattr'],
  'binfmt-support': ['update-binfmts'],
  'bmap-tools': ['bmaptool'],
  bubblewrap: ['bwrap'],
  dosfstools: ['mkfs.vfat'],
  e2fsprogs: ['debugfs'],
  gdisk: ['sgdisk'],
  gnupg: ['gpg'],
  'grub-common': ['grub-mkimage'],
  'grub-efi-amd64-bin': ['/usr/lib/grub/x86_64-efi/normal.mod'],
  libdeflate0: ['/usr/lib/*/libdeflate.so.0', '/usr/lib64/libdeflate.so.0'],
  mtools: ['mcopy'],
  ovmf: ['/usr/share/OVMF/OVMF_CODE_4M.fd'],
  'qemu-system-arm': ['qemu-system-aarch64'],
  'qemu-system-x86': ['qemu-system-x86_64'],
  'qemu-user-static': ['qemu-aarch64-static'],
  'systemd-boot-efi': ['/usr/lib/systemd/boot/efi/systemd-bootx64.efi'],
  'u-boot-qemu': ['/usr/lib/u-boot/qemu_arm64/u-boot.bin'],
  'u-boot-tools': ['mkimage'],
  'ostree-tests': ['/usr/libexec/installed-tests/libostree/libtest.sh'],
  xfsprogs: ['mkfs.xfs'],
  'xz-utils': ['xz'],
  postgresql: ['initdb', '/usr/lib/postgresql/*/bin/initdb'],
  procps: ['pgrep'],
  uidmap: ['newuidmap'],
};

const [taskName, ...args] = process.argv.slice(2);
const task = Object.hasOwn(tasks, taskName ?? '') ? tasks[taskName] : undefined;
if (!task) {
  stop(`unknown task ${JSON.stringify(taskName ?? '')}`, `Use one of: ${Object.keys(tasks).join(', ')}.`, 2);
}

installNpmPackages();
installDebianPackages(typeof task.debian === 'function' ? task.debian(args) : task.debian);
start(node24(), [join(root, task.script), ...args]);

// ---------------------------------------------------------------------------------------------- npm packages

function installNpmPackages() {
  const lock = readFileSync(join(root, 'package-lock.json'));
  const hash = createHash('sha256').update(lock).update(`${process.platform} ${process.arch}`).digest('hex');
  const note = join(root, 'node_modules', '.treeline-lock');
  if (existsSync(note) && readFileSync(note, 'utf8').trim() === hash) return;
  // Somebody may have run npm by hand: what is installed decides, not who installed it.
  if (!installedMatches(JSON.parse(lock.toString('utf8')))) {
    const npm = process.env.npm_execpath;
    const [command, first] = npm?.endsWith('.js') ? [process.execPath, [npm]] : ['npm', []];
    install('npm packages', command, [...first, 'ci', '--loglevel=error', '--no-fund', '--no-audit']);
  }
  writeFileSync(note, `${hash}\n`);
}

/** Whether npm's own record of node_modules has every package of the lock file in the locked version. */
function installedMatches(lock) {
  const record = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const installed = JSON.parse(readFileSync(record, 'utf8')).packages ?? {};
  return Object.entries(lock.packages).every(([path, wanted]) => {
    if (!path.startsWith('node_modules/') && !path.includes('/node_modules/')) return true;
    const found = installed[path];
    if (!found) return wanted.optional === true || wanted.devOptional === true;
    return found.version === wanted.version && found.integrity === wanted.integrity && existsSync(join(root, path));
  });
}

function node24() {
  const own = join(root, 'node_modules', 'node', 'bin', 'node');
  if (existsSync(own)) return own;
  if (Number(process.versions.node.split('.')[0]) >= 24) return process.execPath;
  stop(
    `there is no Node 24: ${own} is missing`,
    'The npm package `node` brings it in its install script. Allow scripts (npm config delete ignore-scripts), ' +
      'then run: npm rebuild node',
  );
}

// ------------------------------------------------------------------------------------------- Debian packages

function installDebianPackages(wanted) {
  const missing = wanted.filter((name) => !(proof[name] ?? [name]).some(isThere));
  if (missing.length === 0) return;
  if (!isThere('apt-get')) {
    const list = missing.map((name) => `${name} (${(proof[name] ?? [name])[0]})`).join(', ');
    stop(
      `\`${taskName}\` needs programs that are not here: ${list}`,
      "There is no apt-get, so this is not Debian: install them with your system's package manager, then try again.",
    );
  }
  const flags = ['-y', '-qq', '-o', 'DPkg::Lock::Timeout=300'];
  const installArguments = ['install', '--no-install-recommends', ...flags, ...missing];
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status !== 0) {
    stop(
      `\`${taskName}\` needs Debian packages that are not installed: ${missing.join(' ')}`,
      `Run this, then try again: sudo apt-get update && sudo apt-get install --no-install-recommends ${missing.join(' ')}`,
    );
  }
  const environment = ['DEBIAN_FRONTEND=noninteractive', 'apt-get'];
  const [command, first] = isRoot ? ['env', environment] : ['sudo', ['-n', 'env', ...environment]];
  install('package lists', command, [...first, 'update', '-qq', '-o', 'DPkg::Lock::Timeout=300']);
  install(missing.join(', '), command, [...first, ...installArguments]);
}

function isThere(program) {
  if (program.startsWith('/') && !program.includes('/*/')) return existsSync(program);
  if (program.includes('/*/')) {
    const [before, after] = program.split('/*/');
    return existsSync(before) && readdirSync(before).some((name) => existsSync(join(before, name, after)));
  }
  // A user's PATH may lack sbin, where some packages put their programs.
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

// -------------------------------------------------------------------------------------------------- processes

function install(what, command, commandArguments) {
  process.stderr.write(`Installing ${what} … `);
  const began = Date.now();
  const result = spawnSync(command, commandArguments, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 64 * 2 ** 20,
  });
  const seconds = ((Date.now() - began) / 1000).toFixed(1);
  if (result.status === 0) {
    process.stderr.write(`${seconds} s\n`);
    return;
  }
  const output = `${result.stdout ?? ''}${result.stderr ?? ''}`.trimEnd().split('\n');
  // npm explains all of its options at the end; what went wrong is at the beginning.
  const shown = [...output.slice(0, 12), ...(output.length > 12 ? ['…'] : [])].map((line) => `  ${line}\n`);
  process.stderr.write(`failed after ${seconds} s\n${shown.join('')}`);
  const why = result.error?.message ?? (result.signal ? `ended by ${result.signal}` : `exit code ${result.status}`);
  const hint = output.some((line) => line.includes('EUSAGE'))
    ? 'Bring package-lock.json up to date with `npm install`, and commit it with package.json.'
    : "It needs the network: npm's registry and Debian's mirror (a proxy goes into npm's and apt's own settings).";
  stop(`could not install ${what}: ${why}`, `The command was: ${[command, ...commandArguments].join(' ')}\n${hint}`);
}

function start(command, commandArguments) {
  // Node 24 first: .bin may have another Node, which tests run a device's programs with.
  const ownPrograms = [dirname(command), join(root, 'node_modules', '.bin')].join(delimiter);
  const child = spawn(command, commandArguments, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, PATH: `${ownPrograms}${delimiter}${process.env.PATH ?? ''}` },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      // A terminal sends Ctrl-C to the child as well; twice would look like impatience.
      if (signal === 'SIGINT' && process.stdin.isTTY) return;
      child.kill(signal);
    });
  }
  // npm passes SIGTERM to its shell only, which dies without telling us: a task without a parent has to end too.
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) child.kill('SIGTERM');
  }, 1000).unref();
  child.on('error', (error) =>
    stop(`could not start ${command}: ${error.message}`, 'Remove node_modules and try again.'),
  );
  child.on('exit', (code, signal) => {
    // A shell's convention, because a parent that reads only exit codes must see that it was not a success.
    process.exit(signal ? 128 + (osConstants.signals[signal] ?? 0) : (code ?? 1));
  });
}

function stop(message, hint, code = 1) {
  process.stderr.write(`treeline: ${message}\n${hint}\n`);
  process.exit(code);
}
