import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CheckoutOptions, checkout } from '@treeline/ostree/checkout/checkout.ts';
import { OstreeError } from '@treeline/ostree/errors.ts';
import type { Checksum } from '@treeline/ostree/formats/object-name.ts';
import { hasObject, readCommit } from '@treeline/ostree/repo/objects.ts';
import { openRepo, type Repo } from '@treeline/ostree/repo/repo.ts';
import { type OptionSpec, type Parsed, UsageError } from '../options.ts';
import { boolean, commitOf, openNamedRepo, type RepoVerb, required } from '../verb.ts';

const flag = (help: string, more: Partial<OptionSpec> = {}): OptionSpec => ({ type: 'boolean', help, ...more });
const text = (argument: string, help: string): OptionSpec => ({ type: 'string', argument, help });

export const checkoutVerb: RepoVerb = {
  usage: 'COMMIT [DESTINATION]',
  options: {
    'user-mode': flag('Do not change file ownership or initialize extended attributes', { short: 'U' }),
    'disable-cache': flag('Do not update or use the internal repository uncompressed object cache'),
    subpath: text('PATH', 'Checkout sub-directory PATH'),
    union: flag('Keep existing directories, overwrite existing files'),
    'union-add': flag('Keep existing files/directories, only add new'),
    'union-identical': flag(
      'When layering checkouts, error out if a file would be replaced with a different version, but add new files and directories',
    ),
    whiteouts: flag("Process 'whiteout' (Docker style) entries"),
    'process-passthrough-whiteouts': flag('Enable overlayfs whiteout extraction into char 0:0 devices'),
    'allow-noent': flag('Do nothing if specified path does not exist'),
    'from-stdin': flag('Process many checkouts from standard input'),
    'from-file': text('FILE', 'Process many checkouts from input file'),
    fsync: text('POLICY', 'Specify how to invoke fsync()'),
    'require-hardlinks': flag('Do not fall back to full copies if hardlinking fails', { short: 'H' }),
    'force-copy-zerosized': flag('Do not hardlink zero-sized files', { short: 'z', hidden: true }),
    'force-copy': flag('Never hardlink (but may reflink if available)', { short: 'C' }),
    'bareuseronly-dirs': flag('Suppress mode bits outside of 0775 for directories (suid, world writable, etc.)', {
      short: 'M',
    }),
    'skip-list': text('FILE', 'File containing list of files to skip'),
    'selinux-policy': text(
      'PATH',
      'Set SELinux labels based on policy in root filesystem PATH (may be /); implies --force-copy',
    ),
    'selinux-prefix': text('PREFIX', 'When setting SELinux labels, prefix all paths by PREFIX'),
    composefs: flag('Only create a composefs blob', { hidden: true }),
    'composefs-noverity': flag('Only create a composefs blob, and disable fsverity', { hidden: true }),
  },
  async run(parsed, signal) {
    const rev = required(parsed, 0, 'COMMIT must be specified');
    if (parsed.flag('composefs') || parsed.flag('composefs-noverity')) {
      throw new OstreeError('unsupported', 'composefs images cannot be made', {
        hint: 'Check out a folder and make one with mkcomposefs.',
      });
    }
    const repo = await openNamedRepo(parsed);
    const options = { ...(await optionsOf(parsed)), signal };
    const file = parsed.flag('from-stdin') ? '-' : parsed.text('from-file');
    if (file === undefined) {
      const checksum = await commitOf(repo, rev);
      await one(repo, parsed, checksum, parsed.text('subpath'), parsed.positionals[1] ?? rev, options);
      return;
    }
    for (const [revision, subpath] of await listOf(file)) {
      const checksum = await commitOf(repo, revision);
      try {
        await one(repo, parsed, checksum, subpath, rev, options);
      } catch (error) {
        if (!(error instanceof OstreeError)) throw error;
        throw new OstreeError(error.code, `Processing tree ${checksum}: ${error.message}`, { cause: error });
      }
    }
  },
};

/** Checks what goes together, in ostree's words. */
async function optionsOf(parsed: Parsed): Promise<CheckoutOptions> {
  const policy = parsed.text('selinux-policy');
  const forceCopy = parsed.flag('force-copy') || policy !== undefined;
  const exclusive: [string, string][] = [
    ['union', 'union-add'],
    ['union', 'union-identical'],
    ['union-add', 'union-identical'],
  ];
  for (const [one, other] of exclusive) {
    if (parsed.flag(one) && parsed.flag(other)) throw new UsageError(`Cannot specify both --${one} and --${other}`);
  }
  if (parsed.flag('require-hardlinks') && forceCopy) {
    throw new UsageError('Cannot specify both --require-hardlinks and --force-copy');
  }
  if (parsed.text('selinux-prefix') !== undefined && policy === undefined) {
    throw new UsageError('Cannot specify --selinux-prefix without --selinux-policy');
  }
  if (parsed.flag('union-identical') && !parsed.flag('require-hardlinks')) {
    throw new UsageError('--union-identical requires --require-hardlinks');
  }
  if (policy !== undefined) refusePolicy(policy);
  const skip = parsed.text('skip-list');
  const skipped = skip === undefined ? null : new Set((await readFile(skip, 'utf8')).split('\n').map(withoutSlash));
  return {
    userMode: parsed.flag('user-mode'),
    hardLink: !forceCopy,
    requireHardLinks: parsed.flag('require-hardlinks'),
    union: parsed.flag('union')
      ? 'overwrite'
      : parsed.flag('union-add')
        ? 'add'
        : parsed.flag('union-identical')
          ? 'identical'
          : 'none',
    whiteouts: parsed.flag('whiteouts'),
    overlayWhiteouts: parsed.flag('process-passthrough-whiteouts'),
    plainFolders: parsed.flag('bareuseronly-dirs'),
    fsync: boolean(parsed.text('fsync'), 'fsync') ?? false,
    cache: isPlain(parsed),
    ...(skipped ? { filter: (path: string) => !skipped.has(path) } : {}),
  };
}

function withoutSlash(path: string): string {
  return path.length > 1 ? path.replace(/\/+$/, '') : path;
}

/** Labels are made by libselinux. Where there is no policy, ostree makes none either. */
function refusePolicy(root: string): void {
  if (!existsSync(root))
    throw new OstreeError('not-found', `selinux-policy: opendir(${root}): No such file or directory`);
  if (!['etc/selinux/config', 'usr/etc/selinux/config'].some((file) => existsSync(join(root, file)))) return;
  throw new OstreeError('unsupported', `SELinux labels cannot be made from a policy (${root})`, {
    hint: 'Check out with stock ostree, or label the folder with setfiles afterwards.',
  });
}

/** Options that ostree got after its cache of unpacked objects fell out of favour: with any of them it is not used. */
const NEWER = [
  'disable-cache',
  'whiteouts',
  'require-hardlinks',
  'union-add',
  'force-copy',
  'force-copy-zerosized',
  'bareuseronly-dirs',
  'union-identical',
  'process-passthrough-whiteouts',
  'skip-list',
  'selinux-policy',
];

function isPlain(parsed: Parsed): boolean {
  return !NEWER.some((name) => parsed.flag(name));
}

async function one(
  repo: Repo,
  parsed: Parsed,
  checksum: Checksum,
  subpath: string | undefined,
  to: string,
  options: CheckoutOptions,
): Promise<void> {
  const { tree } = await readCommit(await repoWith(repo, checksum), checksum);
  const cacheable = repo.config.get('core')?.get('enable-uncompressed-cache') !== 'false';
  const part = subpath === undefined || subpath === '' ? {} : { subpath };
  try {
    await checkout(repo, tree, to, { ...options, ...part, cache: options.cache === true && cacheable });
  } catch (error) {
    const missing = error instanceof OstreeError && error.code === 'not-found' && error.object === undefined;
    if (!missing || !parsed.flag('allow-noent')) throw error;
  }
}

/** The repository itself, or the parent that has the commit. */
async function repoWith(repo: Repo, checksum: Checksum): Promise<Repo> {
  const parent = repo.config.get('core')?.get('parent');
  return hasObject(repo, 'commit', checksum) || !parent ? repo : repoWith(await openRepo(parent), checksum);
}

/** Pairs of revision and path, each with a NUL after it. */
async function listOf(file: string): Promise<[string, string][]> {
  const chunks: Buffer[] = [];
  if (file === '-') for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  else chunks.push(await readFile(file));
  const fields = Buffer.concat(chunks).toString('utf8').split('\0');
  const pairs: [string, string][] = [];
  for (let index = 0; fields[index]; index += 2) pairs.push([fields[index]!, fields[index + 1] ?? '']);
  return pairs;
}
