import { OstreeError } from '../errors.ts';

/** Where something stands in a text in GVariant's text form. */
export interface Span {
  start: number;
  end: number;
}

/** Splits GVariant text into tokens, one ahead, by the rules of GLib's parser. */
export class TokenStream {
  readonly text: string;
  /** The token at hand; empty at the end. */
  token = '';
  start = 0;
  /** Where the token before this one ended. */
  lastEnd = 0;
  #next = 0;

  constructor(text: string) {
    this.text = text;
    this.advance();
  }

  get end(): number {
    return this.#next;
  }

  advance(): void {
    this.lastEnd = this.#next;
    let at = this.#next;
    while (at < this.text.length && /[ \t\n\v\f\r]/.test(this.text[at]!)) at++;
    this.start = at;
    this.#next = this.#tokenEnd(at);
    this.token = this.text.slice(at, this.#next);
  }

  #tokenEnd(at: number): number {
    const { text } = this;
    const first = text[at];
    if (first === undefined) return at;
    if (/[-+.0-9]/.test(first)) return this.#while(at, /[-+.0-9A-Za-z]/);
    if (first === '"' || first === "'") return this.#quoted(at);
    if (first === 'b' && (text[at + 1] === '"' || text[at + 1] === "'")) return this.#quoted(at + 1);
    if (/[a-z]/.test(first)) return this.#while(at, /[0-9A-Za-z]/);
    if (first === '@') return this.#type(at + 1);
    return at + 1;
  }

  #while(at: number, wanted: RegExp): number {
    let end = at;
    while (end < this.text.length && wanted.test(this.text[end]!)) end++;
    return end;
  }

  #quoted(at: number): number {
    let end = at + 1;
    while (end < this.text.length && this.text[end] !== this.text[at]) end += this.text[end] === '\\' ? 2 : 1;
    return Math.min(end + 1, this.text.length);
  }

  /** A type ends at a space, a comma, a colon or a bracket that it did not open. */
  #type(at: number): number {
    let open = 0;
    let end = at;
    for (; end < this.text.length; end++) {
      const character = this.text[end]!;
      if (/[,:>\]\s]/.test(character)) break;
      if (character === '(' || character === '{') open++;
      else if ((character === ')' || character === '}') && open-- === 0) break;
    }
    return end;
  }

  /** Steps over this token if it is the one at hand. */
  consume(token: string): boolean {
    if (this.token !== token) return false;
    this.advance();
    return true;
  }

  require(token: string, purpose: string): void {
    if (!this.consume(token)) throw this.expected(`expected '${token}'${purpose}`);
  }

  /** An error about what should have come here. */
  expected(message: string): OstreeError {
    return parseError(this.text, { start: this.start, end: this.start }, message);
  }

  /** An error about the token at hand. */
  error(message: string): OstreeError {
    return parseError(this.text, this, message);
  }
}

/** `<first byte>-<last byte>:message`, as GLib words it. */
export function parseError(text: string, { start, end }: Span, message: string): OstreeError {
  const offset = Buffer.byteLength(text.slice(0, start));
  const last = offset + Buffer.byteLength(text.slice(start, end));
  return new OstreeError('invalid', `${last > offset ? `${offset}-${last}` : offset}:${message}`, { offset });
}
