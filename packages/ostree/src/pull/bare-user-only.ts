import { OstreeError } from '../errors.ts';
import type { FileHeader } from '../formats/file.ts';
import { S_IFMT, S_IFREG } from '../formats/mode.ts';
import type { Checksum } from '../formats/object-name.ts';

/**
 * Refuses a regular file whose mode has bits outside of 0775, such as setuid or world-writable ones
 * (`_ostree_validate_bareuseronly_mode`): what a bare-user-only repository could not hold, or nobody should get from
 * somebody whom he does not trust that much.
 *
 * @throws OstreeError `unsupported`
 */
export function assertBareUserOnlyMode(header: FileHeader, checksum: Checksum): void {
  if ((header.mode & S_IFMT) !== S_IFREG) return;
  const permissions = header.mode & ~S_IFMT;
  const invalid = permissions & ~0o775;
  if (invalid === 0) return;
  const octal = (value: number) => `0${value.toString(8).padStart(4, '0')}`;
  throw new OstreeError(
    'unsupported',
    `Content object ${checksum}: invalid mode ${octal(permissions)} with bits ${octal(invalid)}`,
    { object: `${checksum}.file`, hint: 'Only files with modes within 0775 were asked for.' },
  );
}
