import { hash } from 'node:crypto';
import { OstreeError } from '../errors.ts';
import { parseXml, type XmlElement } from './xml.ts';

/** What a metalink (version 3, metalinker.org) says of one file: how to know it, and where it is. */
export interface MetalinkFile {
  size: number;
  sha256?: string;
  sha512?: string;
  /** In the order of the document. */
  urls: readonly string[];
}

const MAX_URLS = 256;

/**
 * What a metalink says of a file. Checked is what libostree checks, in its words.
 *
 * @param what how errors name the metalink
 * @throws OstreeError `invalid` for what is malformed, or would let the file be anything; `not-found` when the file
 *   is not in it
 */
export function parseMetalink(text: string, name: string, what: string): MetalinkFile {
  const fail = (message: string) => new OstreeError('invalid', `${what}: ${message}`);
  const root = parseXml(text, what);
  const files = (root.name === 'metalink' ? childrenOf(root, 'files') : []).flatMap((one) => childrenOf(one, 'file'));
  if (files.length === 0) throw fail('No <file> element found');
  const file = files.find((one) => one.attributes.get('name') === name);
  if (!file) throw new OstreeError('not-found', `${what}: No <file name='${name}'> found`);
  const size = Number(childrenOf(file, 'size')[0]?.text.trim() ?? 0);
  if (!Number.isSafeInteger(size) || size <= 0) throw fail('No <size> element found or it is zero');
  const hashes = childrenOf(file, 'verification').flatMap((one) => childrenOf(one, 'hash'));
  const digest = (type: string) => hashes.findLast((one) => one.attributes.get('type') === type)?.text;
  const [sha256, sha512] = [digest('sha256'), digest('sha512')];
  if (sha256 === undefined && sha512 === undefined) {
    throw fail('No <verification> element with known <hash type=> found');
  }
  if (sha256 !== undefined && !/^[\da-f]{64}$/.test(sha256)) throw fail('Invalid hash digest for sha256');
  if (sha512 !== undefined && !/^[\da-f]{128}$/.test(sha512)) throw fail('Invalid hash digest for sha512');
  const urls = childrenOf(file, 'resources')
    .flatMap((one) => childrenOf(one, 'url'))
    .filter((one) => /^https?$/.test(one.attributes.get('protocol') ?? ''))
    .map((one) => one.text.trim())
    .filter((url) => URL.canParse(url) && /^https?:/i.test(url))
    .slice(0, MAX_URLS);
  if (urls.length === 0) throw fail("No <url method='http'> elements found");
  return { size, urls, ...(sha256 === undefined ? {} : { sha256 }), ...(sha512 === undefined ? {} : { sha512 }) };
}

function childrenOf(element: XmlElement, name: string): XmlElement[] {
  return element.children.filter((one) => one.name === name);
}

/** Checks that bytes are the file that a metalink means. Throws `corrupt`. */
export function assertIsFile(file: MetalinkFile, data: Uint8Array): void {
  if (data.length !== file.size) {
    throw new OstreeError('corrupt', `Expected size is ${file.size} bytes but content is ${data.length} bytes`);
  }
  const kind = file.sha512 === undefined ? 'sha256' : 'sha512';
  const actual = hash(kind, data);
  if (actual === file[kind]) return;
  throw new OstreeError('corrupt', `Expected checksum is ${file[kind]} but actual is ${actual}`);
}
