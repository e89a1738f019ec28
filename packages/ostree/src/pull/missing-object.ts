import { OstreeError } from '../errors.ts';
import { type Checksum, loosePath } from '../formats/object-name.ts';
import { ACCESS_HINT, type HttpSource } from './http.ts';

/** The error for an object that a remote should have and has not. */
export function missing(
  source: HttpSource,
  checksum: Checksum,
  extension: 'commit' | 'dirtree' | 'dirmeta' | 'filez',
): OstreeError {
  const object = `${checksum}.${extension}`;
  const forbidden = source.forbidden(`objects/${loosePath(checksum, extension)}`);
  if (forbidden !== undefined) {
    return new OstreeError(
      'network',
      `${source.base}: asked for the object ${object}, the server answered ${forbidden}`,
      {
        object,
        hint: ACCESS_HINT,
      },
    );
  }
  return new OstreeError('not-found', `${source.base}: has no object ${object}: the server answered 404`, {
    object,
    hint: 'The remote is incomplete, or was pruned while it was being pulled from: pull again.',
  });
}
