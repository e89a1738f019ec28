import type { IncomingHttpHeaders } from 'node:http';

/** What identifies one version of a file to caches (RFC 9110, section 8.8). */
export interface Validators {
  /** A strong entity tag, with its quotes. */
  etag: string;
  /** Time of the last change, in whole seconds, as HTTP writes dates. */
  lastModified: string;
}

/** Whether the client has this version already, so that 304 is the answer (RFC 9110, section 13.2.2). */
export function isUnmodified(headers: IncomingHttpHeaders, { etag, lastModified }: Validators): boolean {
  const tags = headers['if-none-match'];
  if (tags !== undefined) return tags.trim() === '*' || tags.split(',').some((tag) => weak(tag) === etag);
  const since = headers['if-modified-since'];
  return since !== undefined && Date.parse(since) >= Date.parse(lastModified);
}

function weak(tag: string): string {
  const text = tag.trim();
  return text.startsWith('W/') ? text.slice(2) : text;
}

export interface ByteRange {
  /** First and last byte, both included. */
  start: number;
  end: number;
}

/**
 * The part of a file of `size` bytes that a request asks for: null for all of it, `'unsatisfiable'` for 416.
 * Several ranges at once, and ranges of another version (If-Range), are answered with the whole file, as RFC 9110
 * allows and demands.
 */
export function requestedRange(
  headers: IncomingHttpHeaders,
  size: number,
  validators: Validators,
): ByteRange | 'unsatisfiable' | null {
  const match = /^bytes=(\d{0,16})-(\d{0,16})$/.exec(headers.range?.trim() ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return null;
  const condition = headers['if-range'];
  if (typeof condition === 'string' && condition !== validators.etag && condition !== validators.lastModified)
    return null;
  if (match[1] === '') {
    const suffix = Math.min(Number(match[2]), size);
    return suffix === 0 ? 'unsatisfiable' : { start: size - suffix, end: size - 1 };
  }
  const start = Number(match[1]);
  const end = match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (match[2] !== '' && Number(match[2]) < start) return null; // not a range at all
  return start >= size ? 'unsatisfiable' : { start, end };
}
