import { createHash } from 'node:crypto';
import { canonicalJson } from './canonical.ts';
import type { KeyDocument } from './document.ts';

/**
 * The cache key of a job: the SHA-256 of its key document's canonical JSON, 64 hex digits. Two jobs share a result
 * exactly if they share the key.
 */
export function jobKey(document: KeyDocument): string {
  return createHash('sha256').update(canonicalJson(document), 'utf8').digest('hex');
}
