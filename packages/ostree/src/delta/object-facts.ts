import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { OstreeError, systemCode } from '../errors.ts';
import { decodeFilezHeader, type FileHeader, filezHeaderLength } from '../formats/file.ts';
import { S_IFMT, S_IFREG } from '../formats/mode.ts';
import type { Checksum } from '../formats/object-name.ts';
import { objectPath } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { readBareObject } from '../work/bare-object.ts';
import type { FileFacts } from './sources.ts';

/** A content object but for its content. */
export interface ObjectFact {
  header: FileHeader;
  /** Bytes of content; 0 for a symlink. */
  size: number;
  /** Bytes as it is stored. */
  stored: number;
}

/** Reads the headers of content objects, each once, synchronously: thousands of small reads in a row. */
export class ObjectFacts {
  readonly #repo: Repo;
  readonly #known = new Map<Checksum, ObjectFact>();

  constructor(repo: Repo) {
    this.#repo = repo;
  }

  /** Throws `not-found`, `corrupt`. */
  of(checksum: Checksum): ObjectFact {
    let fact = this.#known.get(checksum);
    if (!fact) {
      fact = this.#read(checksum);
      this.#known.set(checksum, fact);
    }
    return fact;
  }

  /** Size and mode of a regular file; null for a symlink. */
  regular(checksum: Checksum): FileFacts | null {
    const { header, size } = this.of(checksum);
    return (header.mode & S_IFMT) === S_IFREG ? { size, mode: header.mode } : null;
  }

  #read(checksum: Checksum): ObjectFact {
    const path = objectPath(this.#repo, 'file', checksum);
    const object = `${checksum}.file`;
    try {
      if (this.#repo.mode !== 'archive') {
        return { ...readBareObject(this.#repo, path, object), stored: statSync(path).size };
      }
      const fd = openSync(path, 'r');
      try {
        let data = START.subarray(0, readSync(fd, START, 0, START.length, 0));
        const length = filezHeaderLength(data, object);
        if (length > data.length) {
          data = Buffer.alloc(length);
          data = data.subarray(0, readSync(fd, data, 0, length, 0));
        }
        // A copy, since the header keeps views of attributes.
        const { header, size } = decodeFilezHeader(Buffer.from(data.subarray(0, length)), object);
        return { header, size, stored: fstatSync(fd).size };
      } finally {
        closeSync(fd);
      }
    } catch (cause) {
      if (systemCode(cause) !== 'ENOENT') throw cause;
      throw new OstreeError('not-found', `${this.#repo.path}: no object ${object}`, { object, cause });
    }
  }
}

const START = Buffer.alloc(512);
