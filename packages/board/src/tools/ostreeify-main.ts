import { parseArgs } from 'node:util';
import { BoardError } from '../errors.ts';
import { ostreeify } from '../system/ostreeify.ts';

/*
 * `ostreeify` as a program of its own, for jobs: bundled into the built-in artifact treeline/tools. On a machine with
 * Treeline it is `treeline ostreeify`.
 */

const HELP = `ostreeify [--kernel VERSION] [--module NAME]… [--hostname NAME] SOURCE TARGET

Makes a distribution's root file system an OSTree tree that boots.

  SOURCE      a folder (made by mmdebstrap, debootstrap or the like) or a tar; it is not changed
  TARGET      the folder to make, such as "$OUT/base"
  --kernel    which kernel, where the root file system has several
  --module    a module for the initramfs instead of what the distribution would take; may be given again
  --hostname  default: the distribution's name

It runs programs of SOURCE, so it has to be root: "root: true" in treeline.yaml.
`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: {
      kernel: { type: 'string' },
      module: { type: 'string', multiple: true },
      hostname: { type: 'string' },
      help: { type: 'boolean' },
    },
    allowPositionals: true,
  });
  const [source, target, ...more] = positionals;
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (source === undefined || target === undefined || more.length > 0) {
    process.stderr.write(HELP);
    return 2;
  }
  const begin = performance.now();
  const done = await ostreeify(source, target, {
    kernel: values.kernel,
    modules: values.module,
    hostname: values.hostname,
    onStep: (step) => process.stdout.write(`ostreeify: ${step}\n`),
  });
  const seconds = ((performance.now() - begin) / 1000).toFixed(1);
  const megabytes = (done.initramfsBytes / 1e6).toFixed(1);
  const what = done.already ? 'was an OSTree tree already' : `initramfs ${megabytes} MB by ${done.initramfsTool}`;
  process.stdout.write(
    `ostreeify: ${done.system}, ${done.architecture}, kernel ${done.kernel}: ${what}; ${seconds} s\n`,
  );
  return 0;
}

main().then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    const known = error instanceof BoardError ? error : null;
    const bad = error instanceof Error && 'code' in error && `${error.code}`.startsWith('ERR_PARSE_ARGS');
    process.stderr.write(`ostreeify: ${error instanceof Error ? error.message : String(error)}\n`);
    if (known?.hint) process.stderr.write(`hint: ${known.hint}\n`);
    process.exitCode = bad ? 2 : 1;
  },
);
