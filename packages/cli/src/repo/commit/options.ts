import type { OptionSpec } from '../options.ts';
import { signingOptions } from '../signing-options.ts';

const text = (argument: string, help: string, more: Partial<OptionSpec> = {}): OptionSpec => ({
  type: 'string',
  argument,
  help,
  ...more,
});
const list = (argument: string, help: string): OptionSpec => text(argument, help, { multiple: true });
const flag = (help: string, more: Partial<OptionSpec> = {}): OptionSpec => ({ type: 'boolean', help, ...more });
const number = (argument: string, help: string): OptionSpec => ({ type: 'integer', argument, help });

/** What `commit` takes: all of ostree's options, and trees of its own. */
export const commitOptions: Record<string, OptionSpec> = {
  parent: text('REV', 'Parent commit checksum, or "none"'),
  subject: text('SUBJECT', 'One line subject', { short: 's' }),
  body: text('BODY', 'Full description', { short: 'm' }),
  'body-file': text('FILE', 'Commit message from FILE path', { short: 'F' }),
  editor: flag('Use an editor to write the commit message', { short: 'e' }),
  branch: text('BRANCH', 'Branch', { short: 'b' }),
  orphan: flag('Create a commit without writing a ref'),
  'no-bindings': flag('Do not write any ref bindings'),
  'bind-ref': list('BRANCH', 'Add a ref to ref binding commit metadata'),
  base: text('REV', 'Start from the given commit as a base (no modifiers apply)'),
  tree: list(
    'dir=PATH or tar=TARFILE or ref=COMMIT or overlay=TARFILE or oci=PATH[:TAG]',
    'Overlay the given argument as a tree',
  ),
  platform: text('OS/ARCH[/VARIANT]', 'Which image to take of a --tree=oci= that has several'),
  'add-metadata-string': list('KEY=VALUE', 'Add a key/value pair to metadata'),
  'add-metadata': list(
    'KEY=VALUE',
    'Add a key/value pair to metadata, where the KEY is a string, and VALUE is in GVariant Text Format',
  ),
  'keep-metadata': list('KEY', 'Keep metadata KEY and its associated VALUE from parent'),
  'add-detached-metadata-string': list('KEY=VALUE', 'Add a key/value pair to detached metadata'),
  'owner-uid': number('UID', 'Set file ownership user id'),
  'owner-gid': number('GID', 'Set file ownership group id'),
  'canonical-permissions': flag('Canonicalize permissions in the same way bare-user does for hardlinked files'),
  bootable: flag('Flag this commit as a bootable OSTree (e.g. contains a Linux kernel)'),
  'mode-ro-executables': flag('Ensure executable files are not writable'),
  'no-xattrs': flag('Do not import extended attributes'),
  'selinux-policy': text('PATH', 'Set SELinux labels based on policy in root filesystem PATH (may be /)'),
  'selinux-policy-from-base': flag('Set SELinux labels based on first --tree argument', { short: 'P' }),
  'selinux-labeling-epoch': number('EPOCH', 'Configure the default SELinux labeling rules'),
  'link-checkout-speedup': flag('Optimize for commits of trees composed of hardlinks into the repository'),
  'devino-canonical': flag('Assume hardlinked objects are unmodified.  Implies --link-checkout-speedup', {
    short: 'I',
  }),
  'no-stat-cache': flag('Read every file, also those that look as they did at the last commit'),
  'tar-autocreate-parents': flag('When loading tar archives, automatically create parent directories as needed'),
  'tar-pathname-filter': text(
    'REGEX,REPLACEMENT',
    'When loading tar archives, use REGEX,REPLACEMENT against path names',
  ),
  'skip-if-unchanged': flag('If the contents are unchanged from previous commit, do nothing'),
  statoverride: text('PATH', 'File containing list of modifications to make to permissions'),
  'skip-list': text('PATH', 'File containing list of files to skip'),
  consume: flag('Consume (delete) content after commit (for local directories)'),
  'table-output': flag('Output more information in a KEY: VALUE format'),
  ...signingOptions,
  'generate-sizes': flag('Generate size information along with commit metadata'),
  'generate-composefs-metadata': flag('Generate composefs commit metadata (not supported)', { hidden: true }),
  'disable-fsync': flag('Do not invoke fsync()', { hidden: true }),
  fsync: text('POLICY', 'Specify how to invoke fsync()'),
  timestamp: text('TIMESTAMP', 'Override the timestamp of the commit (@SECONDS, ISO 8601, RFC 2822)'),
};
