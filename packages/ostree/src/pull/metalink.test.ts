import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { OstreeError } from '../errors.ts';
import { assertIsFile, parseMetalink } from './metalink.ts';
import { parseXml } from './xml.ts';

const data = Buffer.from('a summary');
const sha256 = hash('sha256', data);
const sha512 = hash('sha512', data);

const file = (inside: string, name = 'summary') => `<file name="${name}">${inside}</file>`;
const size = `<size>${data.length}</size>`;
const hashes = `<verification><hash type="md5">x</hash><hash type="sha256">${sha256}</hash></verification>`;
const urls =
  '<resources><url protocol="http" type="http" preference="9" > http://a/summary </url>' +
  '<url protocol="ftp">ftp://b/summary</url><url protocol="https">https://c/r/summary</url></resources>';
const metalink = (files: string) =>
  `<?xml version="1.0"?>\n<!-- made by hand -->\n<metalink version="3.0"><other><deep><file name="summary"/></deep></other><files>${files}</files></metalink>\n`;

const parse = (text: string) => parseMetalink(text, 'summary', 'http://x/metalink');

test('a metalink says how to know a file and where it is', () => {
  const found = parse(metalink(file('', 'other') + file(size + hashes + urls)));
  assert.deepEqual(found, { size: data.length, sha256, urls: ['http://a/summary', 'https://c/r/summary'] });
  assertIsFile(found, data);
  assert.throws(() => assertIsFile(found, Buffer.from('A summary')), {
    code: 'corrupt',
    message: /^Expected checksum is .* but actual is/,
  });
  assert.throws(() => assertIsFile(found, Buffer.from('moo')), {
    message: 'Expected size is 9 bytes but content is 3 bytes',
  });
  // The longer one counts when there are both.
  assert.throws(() => assertIsFile({ ...found, sha512: sha512.replace(/^./, '_') }, data), { code: 'corrupt' });
});

test('a metalink that would let the file be anything is refused', () => {
  const bad: [string, RegExp][] = [
    ['bacon\n', /line 1 char 1: Document must begin with an element/],
    ['', /Document was empty/],
    ['<metalink/>', /No <file> element found/],
    [metalink(file(size + hashes + urls, 'other')), /No <file name='summary'> found/],
    [metalink(file(hashes + urls)), /No <size> element found or it is zero/],
    [metalink(file(`<size>-1</size>${hashes}${urls}`)), /No <size> element/],
    [metalink(file(size + urls)), /No <verification> element with known <hash type=> found/],
    [metalink(file(size + hashes.replace(sha256, 'bacon') + urls)), /Invalid hash digest for sha256/],
    [metalink(file(size + hashes + urls.replaceAll('http', 'gopher'))), /No <url method='http'> elements found/],
  ];
  for (const [text, message] of bad) assert.throws(() => parse(text), { message });
});

test('XML that nobody needs for data is refused', () => {
  const bad = [
    '<a>',
    '</a>',
    '<a></b>',
    '<a/><b/>',
    '<a b=c/>',
    '<a b="<"/>',
    '<a>&bomb;</a>',
    '<a>& </a>',
    '<a>&#0;</a>',
    '<a>&#x110000;</a>',
    '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
    '<a><!-- </a>',
    '<![CDATA[x]]>',
    '<'.repeat(10),
    '<a>'.repeat(100),
  ];
  for (const text of bad) assert.throws(() => parseXml(text, 'x'), { code: 'invalid' }, text);
  const good = parseXml('\ufeff<a b="1" c=\'&lt;&#65;&#x42;\'>x<!-- y --><d/><![CDATA[<z>]]>&amp;</a>', 'x');
  assert.deepEqual(
    [...good.attributes],
    [
      ['b', '1'],
      ['c', '<AB'],
    ],
  );
  assert.deepEqual([good.text, good.children.map(({ name }) => name)], ['x<z>&', ['d']]);
});

test('no text makes it hang or crash', () => {
  const whole = metalink(file(size + hashes + urls));
  const mutation = fc.record({ at: fc.nat(whole.length), remove: fc.nat(10), insert: fc.string({ maxLength: 8 }) });
  fc.assert(
    fc.property(mutation, ({ at, remove, insert }) => {
      try {
        parse(whole.slice(0, at) + insert + whole.slice(at + remove));
      } catch (error) {
        assert.ok(error instanceof OstreeError, String(error));
      }
    }),
    { numRuns: 1000 },
  );
  const began = process.cpuUsage();
  assert.throws(() => parse(`<a ${'b="c" '.repeat(50_000)}`));
  assert.throws(() => parse(`<a${' '.repeat(100_000)}`));
  assert.ok(process.cpuUsage(began).user < 2_000_000);
});
