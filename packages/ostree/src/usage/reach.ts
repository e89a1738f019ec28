import { readFileSync } from 'node:fs';
import { OstreeError, systemCode } from '../errors.ts';
import { decodeCommit } from '../formats/commit.ts';
import { visitDirTree } from '../formats/dirtree-children.ts';
import type { Checksum } from '../formats/object-name.ts';
import { timeSlices } from '../prune/time-slices.ts';
import { objectPath } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { type Amount, noAmount, without } from './amount.ts';
import type { ObjectTable } from './object-table.ts';

/** What one of several sets of commits takes. */
export interface Reached {
  total: Amount;
  /** What no other of the sets reaches. */
  exclusive: Amount;
  /** What another one reaches, too. */
  shared: Amount;
  /** Mentions of objects that are not there: of partial commits, and of commits that are not there. */
  missing: number;
}

/** What a folder or commit refers to: numbers, and how much of it is nowhere. */
interface References {
  numbers: Int32Array;
  missing: number;
}

const NOBODY = 0;
const SEVERAL = -1;

/**
 * Finds out which commits reach which objects. A dirtree is read once, however many commits have it; from then on a
 * walk is one over numbers.
 */
export class Reach {
  readonly #repos: readonly Repo[];
  readonly #table: ObjectTable;
  readonly #references = new Map<number, References>();
  readonly #signal: AbortSignal | undefined;

  constructor(repos: readonly Repo[], table: ObjectTable, signal: AbortSignal | undefined) {
    this.#repos = repos;
    this.#table = table;
    this.#signal = signal;
  }

  /**
   * What each of these sets of commits takes, held against the others; and what none of them reaches.
   *
   * @throws OstreeError `corrupt` for a commit or a dirtree that cannot be read
   */
  async measure(sets: readonly (readonly Checksum[])[]): Promise<{ sets: Reached[]; unreached: Amount }> {
    const table = this.#table;
    const pause = timeSlices(this.#signal);
    const owner = new Int32Array(table.size);
    const visited = new Int32Array(table.size);
    const sums: { total: Amount; exclusive: Amount; missing: number }[] = [];
    for (const [index, commits] of sets.entries()) {
      const mark = index + 1;
      const sum = { total: noAmount(), exclusive: noAmount(), missing: 0 };
      sums.push(sum);
      const waiting: [number, References][] = [];
      const visit = (number: number): boolean => {
        if (visited[number] === mark) return false;
        visited[number] = mark;
        owner[number] = owner[number] === NOBODY ? mark : SEVERAL;
        table.addTo(sum.total, number);
        return true;
      };
      for (const commit of commits) {
        const number = table.numberOf('commit', commit);
        if (number < 0) sum.missing++;
        else if (visit(number)) waiting.push([number, await this.#ofCommit(number, commit)]);
      }
      for (let next = waiting.pop(); next; next = waiting.pop()) {
        sum.missing += next[1].missing;
        for (const number of next[1].numbers) {
          if (!visit(number)) continue;
          const below = this.#references.get(number);
          if (below) waiting.push([number, below]);
        }
        await pause();
      }
    }
    const unreached = noAmount();
    for (let number = 0; number < table.size; number++) {
      const mark = owner[number]!;
      if (mark === NOBODY) table.addTo(unreached, number);
      else if (mark !== SEVERAL) table.addTo(sums[mark - 1]!.exclusive, number);
    }
    return { sets: sums.map((sum) => ({ ...sum, shared: without(sum.total, sum.exclusive) })), unreached };
  }

  async #ofCommit(number: number, commit: Checksum): Promise<References> {
    const known = this.#references.get(number);
    if (known) return known;
    const data = this.#read('commit', commit);
    const { tree } = decodeCommit(data, `${commit}.commit`);
    const numbers: number[] = [];
    let missing = 0;
    const meta = this.#table.numberOf('dirmeta', tree.meta);
    if (meta < 0) missing++;
    else numbers.push(meta);
    const contents = this.#table.numberOf('dirtree', tree.contents);
    if (contents < 0) missing++;
    else {
      numbers.push(contents);
      await this.#load(contents, tree.contents);
    }
    const references = { numbers: Int32Array.from(numbers), missing };
    this.#references.set(number, references);
    return references;
  }

  /** Reads a dirtree and all below that have not been read. */
  async #load(root: number, rootChecksum: Checksum): Promise<void> {
    const pause = timeSlices(this.#signal);
    const waiting: [number, Checksum][] = this.#references.has(root) ? [] : [[root, rootChecksum]];
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const [number, checksum] = next;
      if (this.#references.has(number)) continue;
      const numbers: number[] = [];
      let missing = 0;
      const refer = (found: number) => {
        if (found < 0) missing++;
        else numbers.push(found);
      };
      visitDirTree(this.#read('dirtree', checksum), `${checksum}.dirtree`, {
        file: (data, at) => refer(this.#table.numberOfBytes('file', data, at)),
        folder: (data, contentsAt, metaAt) => {
          refer(this.#table.numberOfBytes('dirmeta', data, metaAt));
          const contents = this.#table.numberOfBytes('dirtree', data, contentsAt);
          refer(contents);
          if (contents >= 0 && !this.#references.has(contents)) {
            waiting.push([contents, data.toString('hex', contentsAt, contentsAt + 32)]);
          }
        },
      });
      this.#references.set(number, { numbers: Int32Array.from(numbers), missing });
      await pause();
    }
  }

  #read(type: 'commit' | 'dirtree', checksum: Checksum): Buffer {
    for (const repo of this.#repos) {
      try {
        return readFileSync(objectPath(repo, type, checksum));
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') throw error;
      }
    }
    const object = `${checksum}.${type}`;
    throw new OstreeError('not-found', `No such metadata object ${object}`, {
      object,
      hint: 'It was deleted meanwhile: ask again.',
    });
  }
}
