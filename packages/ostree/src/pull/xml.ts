import { OstreeError } from '../errors.ts';

/** An element of an XML document. */
export interface XmlElement {
  name: string;
  attributes: ReadonlyMap<string, string>;
  children: readonly XmlElement[];
  /** Its own text, without that of its children. */
  text: string;
}

const MAX_DEPTH = 64;
const NAME = '[A-Za-z_:][\\w:.-]*';
const TAG = new RegExp(`<(/?)(${NAME})((?:\\s+${NAME}\\s*=\\s*(?:"[^"<]*"|'[^'<]*'))*)\\s*(/?)>`, 'y');
const ATTRIBUTE = new RegExp(`(${NAME})\\s*=\\s*(?:"([^"]*)"|'([^']*)')`, 'g');
const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/**
 * Reads the part of XML that data files need: elements, attributes, text, CDATA, comments and processing
 * instructions. No document types, so no entities but the five: nothing grows while it is read.
 *
 * @param what how errors name it
 * @throws OstreeError `invalid` with the line of what is malformed
 */
export function parseXml(source: string, what: string): XmlElement {
  const fail = (at: number, message: string) => {
    const before = source.slice(0, at).split('\n');
    const place = `Error on line ${before.length} char ${before.at(-1)!.length + 1}`;
    return new OstreeError('invalid', `${what}: ${place}: ${message}`, { offset: at });
  };
  const open: { name: string; attributes: Map<string, string>; children: XmlElement[]; text: string }[] = [];
  let root: XmlElement | undefined;
  let at = source.charCodeAt(0) === 0xfeff ? 1 : 0;
  while (at < source.length) {
    const parent = open.at(-1);
    const bracket = source.indexOf('<', at);
    const text = source.slice(at, bracket < 0 ? source.length : bracket);
    if (parent) parent.text += unescapeText(text, (from) => fail(at + from, 'an entity that is not known'));
    else if (text.trim() !== '') throw fail(at, 'Document must begin with an element (e.g. <book>)');
    if (bracket < 0) break;
    at = bracket;
    const skipped = skip(source, at, parent);
    if (skipped === -1) throw fail(at, 'it has no end, or is not allowed here');
    if (skipped > at) {
      at = skipped;
      continue;
    }
    TAG.lastIndex = at;
    const tag = TAG.exec(source);
    if (!tag) throw fail(at, 'a tag that is malformed');
    const [whole, closing, name, attributes, selfClosing] = tag as unknown as [string, string, string, string, string];
    if (closing) {
      if (open.pop()?.name !== name) throw fail(at, `</${name}> closes an element that is not open`);
    } else {
      if (root && !parent) throw fail(at, 'a second element beside the first');
      if (open.length >= MAX_DEPTH) throw fail(at, `elements more than ${MAX_DEPTH} deep`);
      const element = { name, attributes: new Map<string, string>(), children: [], text: '' };
      for (const [, key, double, single] of attributes.matchAll(ATTRIBUTE)) {
        const value = unescapeText(double ?? single ?? '', () => fail(at, 'an entity that is not known'));
        element.attributes.set(key!, value);
      }
      if (parent) parent.children.push(element);
      else root = element;
      if (!selfClosing) open.push(element);
    }
    at += whole.length;
  }
  if (open.length > 0) throw fail(at, `Document ended in the middle of <${open.at(-1)!.name}>`);
  if (!root) throw fail(0, 'Document was empty or contained only whitespace');
  return root;
}

/** Past a comment, processing instruction or CDATA section; `at` for something else, -1 for what has no end. */
function skip(source: string, at: number, parent: { text: string } | undefined): number {
  const past = (end: string, from: number) => {
    const found = source.indexOf(end, from);
    return found < 0 ? -1 : found + end.length;
  };
  if (source.startsWith('<!--', at)) return past('-->', at + 4);
  if (source.startsWith('<?', at)) return past('?>', at + 2);
  if (source.startsWith('<![CDATA[', at) && parent) {
    const end = past(']]>', at + 9);
    if (end > 0) parent.text += source.slice(at + 9, end - 3);
    return end;
  }
  return source.startsWith('<!', at) ? -1 : at;
}

function unescapeText(text: string, fail: (at: number) => OstreeError): string {
  return text.replace(/&([^;\s&]{0,10})(;?)/g, (_whole, entity: string, end: string, at: number) => {
    const code = /^#(?:x([\da-f]{1,6})|(\d{1,7}))$/i.exec(entity);
    const value = code ? Number.parseInt(code[1] ?? code[2]!, code[1] ? 16 : 10) : 0;
    if (end && value > 0 && value <= 0x10ffff) return String.fromCodePoint(value);
    if (end && Object.hasOwn(ENTITIES, entity)) return ENTITIES[entity]!;
    throw fail(at);
  });
}
