import { OstreeError } from '../errors.ts';
import { type Checksum, isChecksum } from '../formats/object-name.ts';

/** A delta: from a commit, or from nothing, to a commit. */
export interface DeltaName {
  readonly from: Checksum | null;
  readonly to: Checksum;
}

/**
 * A checksum as deltas have it in their paths: base64 without padding in which `_` stands for `/`; `+` stays
 * (`ostree_checksum_b64_inplace_from_bytes`).
 */
function shortName(checksum: Checksum): string {
  return Buffer.from(checksum, 'hex').toString('base64').slice(0, 43).replaceAll('/', '_');
}

const SHORT = /^[\w+]{43}$/;

function fromShortName(text: string): Checksum | null {
  if (!SHORT.test(text)) return null;
  const bytes = Buffer.from(text.replaceAll('_', '/'), 'base64');
  const checksum = bytes.toString('hex');
  // The last letter has two bits to spare: only one spelling is a name.
  return shortName(checksum) === text ? checksum : null;
}

/** The folder of a delta below the repository: `deltas/FF/<rest>-<to>`, or `deltas/TT/<rest>` from scratch. */
export function deltaFolder(from: Checksum | null, to: Checksum): string {
  const name = from === null ? shortName(to) : `${shortName(from)}-${shortName(to)}`;
  return `deltas/${name.slice(0, 2)}/${name.slice(2)}`;
}

/** The superblock of a delta below the repository. */
export function deltaSuperblockPath(from: Checksum | null, to: Checksum): string {
  return `${deltaFolder(from, to)}/superblock`;
}

/** The index of all deltas to a commit below the repository: `delta-indexes/TT/<rest>.index`. */
export function deltaIndexPath(to: Checksum): string {
  const name = shortName(to);
  return `delta-indexes/${name.slice(0, 2)}/${name.slice(2)}.index`;
}

/** How a delta is called in indexes, in the summary and on the command line: `<from>-<to>`, or `<to>`. */
export function deltaName(from: Checksum | null, to: Checksum): string {
  return from === null ? to : `${from}-${to}`;
}

/** Reads the name of a delta. Throws `invalid` with libostree's words (`_ostree_parse_delta_name`). */
export function parseDeltaName(name: string): DeltaName {
  const dash = name.indexOf('-');
  const [from, to] = dash < 0 ? [null, name] : [name.slice(0, dash), name.slice(dash + 1)];
  for (const part of from === null ? [to] : [from, to]) {
    if (!isChecksum(part)) {
      throw new OstreeError('invalid', `Invalid rev ${part}`, {
        hint: 'A delta is named FROM-TO, or TO when it is from scratch; both are commits of 64 hexadecimal digits.',
      });
    }
  }
  return { from, to };
}

/** The delta whose folder is `deltas/<prefix>/<rest>`, or null where that is none. */
export function deltaOfFolder(prefix: string, rest: string): DeltaName | null {
  const [first = '', second, ...more] = `${prefix}${rest}`.split('-');
  if (more.length > 0) return null;
  const one = fromShortName(first);
  if (second === undefined) return one === null ? null : { from: null, to: one };
  const two = fromShortName(second);
  return one === null || two === null ? null : { from: one, to: two };
}

/** The commit whose index is `delta-indexes/<prefix>/<file>`, or null where that is none. */
export function commitOfIndex(prefix: string, file: string): Checksum | null {
  return file.endsWith('.index') ? fromShortName(`${prefix}${file.slice(0, -'.index'.length)}`) : null;
}
