import { execFile } from 'node:child_process';
import { systemCode } from '../errors.ts';

/** Extended attributes of one file, by name; values are Base64. */
export type Attributes = readonly { name: string; value: string }[];

const OUTPUT_LIMIT = 64 * 1024 * 1024;

/** So many paths go to one command: far below what Linux takes, whatever their length. */
const AT_ONCE = 100;

/**
 * Extended attributes by path; a file that has none, or is not there, is not in it. They are read by `getfattr` (Debian's
 * package `attr`), because Node cannot. Null where that is not installed: then nothing is known of them.
 *
 * @param paths absolute; symlinks are not followed
 * @param o.below also of everything below the paths
 * @param o.match a regular expression for names; default all
 */
export async function readAttributes(
  paths: readonly string[],
  o: { below?: boolean; match?: string; signal?: AbortSignal | undefined } = {},
): Promise<ReadonlyMap<string, Attributes> | null> {
  const found = new Map<string, Attributes>();
  const how = ['--dump', '--no-dereference', '--absolute-names', '--encoding=hex', `--match=${o.match ?? '-'}`];
  if (o.below) how.push('--recursive', '--physical');
  for (let at = 0; at < paths.length; at += AT_ONCE) {
    const text = await getfattr([...how, '--', ...paths.slice(at, at + AT_ONCE)], o.signal);
    if (text === null) return null;
    for (const [path, attributes] of parseAttributes(text)) found.set(path, attributes);
  }
  return found;
}

/** Whether two files have the same extended attributes. */
export function sameAttributes(a: Attributes = [], b: Attributes = []): boolean {
  const sorted = (attributes: Attributes) => attributes.map(({ name, value }) => `${name}=${value}`).sort();
  return a.length === b.length && sorted(a).join('\n') === sorted(b).join('\n');
}

/** What `getfattr --dump --encoding=hex` writes: `# file: PATH`, lines `name=0x…`, an empty line. */
export function* parseAttributes(text: string): Generator<[path: string, attributes: Attributes]> {
  for (const block of text.split('\n\n')) {
    const [head, ...lines] = block.split('\n').filter((line) => line !== '');
    if (!head?.startsWith('# file: ')) continue;
    const attributes = lines.map((line) => {
      const [, name = '', hex = ''] = /^(.*?)(?:=(?:0x)?([0-9a-f]*))?$/i.exec(line) ?? [];
      return { name: unquoted(name), value: Buffer.from(hex, 'hex').toString('base64') };
    });
    yield [unquoted(head.slice('# file: '.length)), attributes];
  }
}

/** It writes bytes that would spoil a line as `\ooo`. */
function unquoted(text: string): string {
  if (!text.includes('\\')) return text;
  const bytes = Buffer.from(text).toString('latin1');
  const plain = bytes.replace(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)));
  return Buffer.from(plain, 'latin1').toString();
}

function getfattr(args: readonly string[], signal: AbortSignal | undefined): Promise<string | null> {
  return new Promise((resolve, reject) => {
    const options = { maxBuffer: OUTPUT_LIMIT, env: { ...process.env, LC_ALL: 'C' }, ...(signal ? { signal } : {}) };
    execFile('getfattr', [...args], options, (error, stdout) => {
      if (signal?.aborted) reject(signal.reason as Error);
      else if (systemCode(error) === 'ENOENT') resolve(null);
      // It fails for each path that is gone meanwhile, and says the others.
      else resolve(stdout);
    });
  });
}
