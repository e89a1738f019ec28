import { rmdirSync, rmSync } from 'node:fs';
import { basename } from 'node:path';
import { systemCode } from '../errors.ts';

/**
 * What a commit has taken in and shall not stay. Deleting is left for when the transaction is through: a commit that
 * fails loses nothing.
 */
export class ConsumedPaths {
  /** In the order in which they were met: folders before what is in them. */
  readonly #paths: { path: string; kind: 'file' | 'folder' | 'all' }[] = [];

  /**
   * Notes a path to be deleted afterwards.
   *
   * @param kind `folder` is removed if it is empty by then; `all` with what is in it
   */
  add(path: string, kind: 'file' | 'folder' | 'all'): void {
    // libostree leaves `.` too: no process can remove the folder that it is in by that name.
    if (basename(path) !== '.') this.#paths.push({ path, kind });
  }

  /** Deletes them. A folder in which something new has come up stays. */
  remove(): void {
    for (const { path, kind } of this.#paths.toReversed()) {
      try {
        if (kind === 'folder') rmdirSync(path);
        else rmSync(path, { recursive: kind === 'all', force: true });
      } catch (error) {
        const code = systemCode(error);
        if (code !== 'ENOENT' && code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
      }
    }
    this.#paths.length = 0;
  }
}
