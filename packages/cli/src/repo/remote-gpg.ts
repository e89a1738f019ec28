import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { OstreeError } from '@treeline/ostree/errors.ts';
import type { Repo } from '@treeline/ostree/repo/repo.ts';
import { importGpgKeys } from '@treeline/ostree/sign/gpg-import.ts';
import { globalKeyring, remoteKeyring } from '@treeline/ostree/sign/gpg-keyring.ts';
import { formatGpgKey } from './gpg-text.ts';
import { type OptionSpec, type Parsed, UsageError } from './options.ts';
import { say } from './verb.ts';

/** Options of `remote gpg-import`. */
export const gpgImportOptions: Record<string, OptionSpec> = {
  keyring: {
    type: 'string',
    short: 'k',
    multiple: true,
    argument: 'FILE',
    help: 'Import keys from a keyring file (repeatable)',
  },
  stdin: { type: 'boolean', help: 'Import keys from standard input' },
};

/** `remote gpg-import NAME [KEY-ID…]`. @param at index of NAME among the positional arguments */
export async function gpgImport(repo: Repo, parsed: Parsed, at: number, signal?: AbortSignal): Promise<void> {
  const name = parsed.positionals[at];
  if (name === undefined) throw new UsageError('NAME must be specified', { showHelp: true });
  const files = parsed.list('keyring');
  if (parsed.flag('stdin') && files.length > 0) {
    throw new UsageError('--keyring and --stdin are mutually exclusive', { showHelp: true });
  }
  const keyIds = parsed.positionals.slice(at + 1);
  const source = parsed.flag('stdin')
    ? await buffer(process.stdin)
    : files.length > 0
      ? await readFiles(files)
      : undefined;
  await importAndTell(repo, name, { ...(source && { source }), keyIds, ...(signal && { signal }) });
}

/** `remote add --gpg-import=FILE`, when the remote is there. */
export async function importGpgFile(repo: Repo, name: string, file: string): Promise<void> {
  await importAndTell(repo, name, { source: await readFiles([file]) });
}

async function importAndTell(repo: Repo, name: string, options: Parameters<typeof importGpgKeys>[2]): Promise<void> {
  const imported = await importGpgKeys(repo, name, options);
  say(`Imported ${imported} GPG key${imported === 1 ? '' : 's'} to remote "${name}"`);
}

async function readFiles(paths: readonly string[]): Promise<Buffer> {
  const contents: Buffer[] = [];
  for (const path of paths) {
    contents.push(
      await readFile(path).catch((cause: Error) => {
        throw new OstreeError('not-found', `Error opening file ${path}: ${cause.message}`, { cause });
      }),
    );
  }
  return Buffer.concat(contents);
}

/** `remote gpg-list-keys [NAME]`: without a name the keys that the whole system trusts. */
export async function listGpgKeys(repo: Repo, parsed: Parsed, at: number): Promise<void> {
  const name = parsed.positionals[at];
  const keyring = name === undefined ? await globalKeyring() : await remoteKeyring(repo, name, { global: false });
  for (const key of await keyring.keys()) process.stdout.write(formatGpgKey(key));
}
