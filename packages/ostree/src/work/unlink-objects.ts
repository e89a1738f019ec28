import { unlinkSync } from 'node:fs';
import { systemCode } from '../errors.ts';

/** Deletes files. Returns for each whether it was there. */
export function unlinkObjects(paths: readonly string[]): boolean[] {
  return paths.map((path) => {
    try {
      unlinkSync(path);
      return true;
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return false;
      throw error;
    }
  });
}
