import { malformed, TransientError } from './errors.ts';

/** Headers by their names in lower case; several of one name are joined by commas. */
export type Headers = Readonly<Record<string, string | undefined>>;

/** The start of an answer. */
export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly headers: Headers;
  /** Bytes of the body, or null when only its end will say. */
  readonly length: number | null;
}

export interface ResponseHandlers {
  onHead(head: ResponseHead): void;
  /** A piece of the body, a view of what was received. */
  onBody(piece: Buffer): void;
  /** @param reusable whether the connection can take another request */
  onEnd(reusable: boolean): void;
}

const MAX_HEAD_BYTES = 64 * 1024;
const HEAD_END = Buffer.from('\r\n\r\n');
const MAX_INTERIM_ANSWERS = 16;
/** A chunk's length with its extensions, and all trailers. */
const MAX_LINE_BYTES = 4096;
const MAX_TRAILER_BYTES = 16 * 1024;

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: (.*))?$/;
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/;

type State = 'idle' | 'head' | 'length' | 'close' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailers';

/**
 * Takes answers to GET and HEAD apart (HTTP/1.1, RFC 9112), one at a time, as the bytes come. Strict, since what
 * two programs understand differently is how answers get mixed up: bare line feeds, folded headers, contradicting
 * lengths and unknown transfer codings are errors.
 */
export class ResponseParser {
  readonly #handlers: ResponseHandlers;
  #state: State = 'idle';
  #isHead = false;
  /** The head, or a line between chunks, as far as it has come. */
  #text = '';
  #left = 0;
  #interim = 0;
  #reusable = false;
  #received = 0;

  constructor(handlers: ResponseHandlers) {
    this.#handlers = handlers;
  }

  /** A request was sent, whose answer comes next. */
  begin(method: 'GET' | 'HEAD'): void {
    this.#state = 'head';
    this.#isHead = method === 'HEAD';
    this.#text = '';
    this.#interim = 0;
    this.#received = 0;
  }

  /** Throws OstreeError `network` for what is malformed; the connection is of no use any more then. */
  push(piece: Buffer): void {
    let at = 0;
    while (at < piece.length) {
      switch (this.#state) {
        case 'idle':
          throw malformed('more than was asked for');
        case 'head':
          at = this.#pushHead(piece, at);
          break;
        case 'length':
        case 'chunk': {
          const end = Math.min(piece.length, at + this.#left);
          this.#left -= end - at;
          this.#body(piece.subarray(at, end));
          at = end;
          if (this.#left > 0) break;
          if (this.#state === 'chunk') this.#expect('chunk-end');
          else this.#finish(piece.length === at);
          break;
        }
        case 'close':
          this.#body(piece.subarray(at));
          at = piece.length;
          break;
        default:
          at = this.#pushLine(piece, at);
      }
    }
  }

  /** The other side has closed the connection. Throws when that is too early. */
  close(): void {
    if (this.#state === 'close') {
      this.#reusable = false;
      this.#finish(true);
    } else if (this.#state === 'head' && this.#text === '' && this.#interim === 0) {
      throw new TransientError('the server closed the connection without an answer');
    } else if (this.#state !== 'idle') {
      const expected = this.#state === 'length' ? ` of ${this.#received + this.#left}` : '';
      throw new TransientError(
        `Transferred a partial file: the connection closed after ${this.#received}${expected} bytes`,
      );
    }
  }

  #expect(state: State): void {
    this.#state = state;
    this.#text = '';
  }

  #body(piece: Buffer): void {
    this.#received += piece.length;
    this.#handlers.onBody(piece);
  }

  #finish(exact: boolean): void {
    this.#expect('idle');
    this.#handlers.onEnd(this.#reusable && exact);
  }

  #pushHead(piece: Buffer, from: number): number {
    // Nearly always it comes in one piece, which need not become a string beyond its head.
    const whole = this.#text === '' ? piece.indexOf(HEAD_END, from) : -1;
    if (whole >= 0) {
      const end = whole + HEAD_END.length;
      if (whole - from > MAX_HEAD_BYTES) throw malformed(`its head is longer than ${MAX_HEAD_BYTES} bytes`);
      this.#takeHead(piece.toString('latin1', from, whole), end === piece.length);
      return end;
    }
    const before = this.#text.length;
    this.#text += piece.toString('latin1', from, Math.min(piece.length, from + MAX_HEAD_BYTES + HEAD_END.length));
    // What is not HTTP at all need not be waited for.
    const start = this.#text.slice(0, 7);
    if (!'HTTP/1.'.startsWith(start)) throw malformed('it does not begin as HTTP/1.1 does');
    // Its end may lie across two pieces.
    const found = this.#text.indexOf('\r\n\r\n', Math.max(0, before - 3));
    if (found < 0 ? this.#text.length > MAX_HEAD_BYTES : found > MAX_HEAD_BYTES) {
      throw malformed(`its head is longer than ${MAX_HEAD_BYTES} bytes`);
    }
    if (found < 0) return piece.length;
    const head = this.#text.slice(0, found);
    const end = from + found + HEAD_END.length - before;
    this.#text = '';
    this.#takeHead(head, end === piece.length);
    return end;
  }

  #takeHead(text: string, exact: boolean): void {
    const lines = text.split('\r\n');
    const status = STATUS_LINE.exec(lines[0]!);
    if (!status || CONTROL.test(status[3] ?? '')) throw malformed('it does not begin as HTTP/1.1 does');
    const headers = parseHeaders(lines);
    const code = Number(status[2]);
    if (code < 200) {
      if (code === 101) throw malformed('it changes the protocol, which nobody asked for');
      if (++this.#interim > MAX_INTERIM_ANSWERS) throw malformed('too many interim answers');
      this.#expect('head');
      return;
    }
    const connection = (headers.connection ?? '').toLowerCase();
    this.#reusable = status[1] === '1' ? !/\bclose\b/.test(connection) : /\bkeep-alive\b/.test(connection);
    const framing = this.#isHead || code === 204 || code === 304 ? 0 : this.#framing(headers);
    const length = typeof framing === 'number' ? framing : null;
    this.#handlers.onHead({ status: code, reason: status[3] ?? '', headers, length });
    if (framing === 0) this.#finish(exact);
    else if (typeof framing === 'number') {
      this.#left = framing;
      this.#expect('length');
    } else this.#expect(framing === 'chunked' ? 'chunk-size' : 'close');
  }

  /** How the end of the body is told. */
  #framing(headers: Headers): number | 'chunked' | 'close' {
    const coding = headers['transfer-encoding'];
    const length = headers['content-length'];
    if (coding !== undefined) {
      if (coding.toLowerCase() !== 'chunked') throw malformed(`an unknown transfer coding (${coding.slice(0, 40)})`);
      // Somebody in between may have believed the other.
      if (length !== undefined) throw malformed('two contradicting lengths');
      return 'chunked';
    }
    if (length === undefined) return 'close';
    if (!/^\d{1,15}$/.test(length)) throw malformed(`a length that is none (${length.slice(0, 40)})`);
    return Number(length);
  }

  /** Lines between chunks: a chunk's length, the end of its line, and trailers. */
  #pushLine(piece: Buffer, from: number): number {
    const feed = piece.indexOf(0x0a, from);
    const to = feed < 0 ? piece.length : feed + 1;
    this.#text += piece.toString('latin1', from, Math.min(to, from + MAX_TRAILER_BYTES + 1));
    if (this.#text.length > (this.#state === 'trailers' ? MAX_TRAILER_BYTES : MAX_LINE_BYTES)) {
      throw malformed('a line between its chunks is too long');
    }
    if (feed < 0) return to;
    if (!this.#text.endsWith('\r\n')) throw malformed('a line between its chunks ends wrongly');
    if (this.#state === 'trailers') {
      if (this.#text === '\r\n' || this.#text.endsWith('\r\n\r\n')) this.#finish(piece.length === to);
      return to;
    }
    const line = this.#text.slice(0, -2);
    if (this.#state === 'chunk-end') {
      if (line !== '') throw malformed('a chunk is longer than it says');
      this.#expect('chunk-size');
      return to;
    }
    const size = /^([\da-f]{1,12})[ \t]*(?:;.*)?$/i.exec(line);
    if (!size) throw malformed('a chunk without a length');
    this.#left = Number.parseInt(size[1]!, 16);
    this.#expect(this.#left === 0 ? 'trailers' : 'chunk');
    return to;
  }
}

function parseHeaders(lines: readonly string[]): Headers {
  const headers = Object.create(null) as Record<string, string>;
  for (let index = 1; index < lines.length; index++) {
    const line = lines[index]!;
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(colon, 0)).toLowerCase();
    if (!TOKEN.test(name)) throw malformed(`a header that is none (${JSON.stringify(line.slice(0, 40))})`);
    const value = line.slice(colon + 1).trim();
    if (CONTROL.test(value)) throw malformed(`control characters in its header ${name}`);
    const other = headers[name];
    if (other === undefined || (name === 'content-length' && other === value)) headers[name] = value;
    else headers[name] = `${other}, ${value}`;
  }
  return headers;
}
