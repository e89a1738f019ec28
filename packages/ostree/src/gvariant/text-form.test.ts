import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { OstreeError } from '../errors.ts';
import { byteswap } from './byteswap.ts';
import { encode } from './encode.ts';
import { parseValue } from './parse.ts';
import { printValue } from './print.ts';

test('text is read as the type, and printed in the form, that GLib 2.74 gives it', () => {
  // Each with its type, g_variant_print with and without annotations, and the serialised bytes where they tell more.
  const known: [string, string, string, string?, string?][] = [
    ["'x'", 's', "'x'"],
    ['uint64 42', 't', 'uint64 42', '42', '2a00000000000000'],
    ['-7', 'i', '-7'],
    ['0x10', 'i', '16'],
    ['010', 'i', '8'],
    ['1e10', 'd', '10000000000.0'],
    ['1e17', 'd', '1e+17'],
    ['0.1', 'd', '0.10000000000000001'],
    ['1e-5', 'd', '1.0000000000000001e-05'],
    ['-0.0', 'd', '-0.0'],
    ['@as []', 'as', '@as []', '[]', ''],
    ['@a{sv} {}', 'a{sv}', '@a{sv} {}', '{}'],
    ["{'a': <1>, 'b': <'x'>}", 'a{sv}', "{'a': <1>, 'b': <'x'>}"],
    ["('a',)", '(s)', "('a',)"],
    ['()', '()', '()', '()', '00'],
    ["b'abc'", 'ay', "b'abc'", "b'abc'", '61626300'],
    ['b"a\'b\\n\\001\\377"', 'ay', 'b"a\'b\\n\\001\\377"'],
    ['[byte 1, 2]', 'ay', '[byte 0x01, 0x02]', '[0x01, 0x02]', '0102'],
    ['@ms nothing', 'ms', '@ms nothing', 'nothing'],
    ['[just 1, nothing]', 'ami', '[@mi 1, nothing]', '[1, nothing]'],
    ["<@as ['a']>", 'v', "<['a']>"],
    ['<<5>>', 'v', '<<5>>'],
    ["objectpath '/a/b'", 'o', "objectpath '/a/b'", "'/a/b'"],
    ['handle 3', 'h', 'handle 3', '3'],
    ["'it\\'s'", 's', '"it\'s"'],
    ["'\\u200b\\u0007\\U0001f600'", 's', "'\\u200b\\a\u{1f600}'"],
    ["{1, 'a'}", '{is}', "{1, 'a'}"],
    ['[1, uint64 2]', 'at', '[uint64 1, 2]', '[1, 2]'],
    ["{'a': 1, 'b': uint32 2}", 'a{si}', "{'a': 1, 'b': 2}"],
    [
      "(1, [2.5, 3], {'k': @mv nothing})",
      '(iada{smv})',
      "(1, [2.5, 3.0], {'k': @mv nothing})",
      "(1, [2.5, 3.0], {'k': nothing})",
    ],
  ];
  for (const [text, type, annotated, plain = annotated, bytes] of known) {
    const found = parseValue(text);
    assert.equal(found.type, type, text);
    assert.equal(printValue(type, found.value), annotated);
    assert.equal(printValue(type, found.value, false), plain);
    if (bytes !== undefined) assert.equal(encode(type, found.value).toString('hex'), bytes);
  }
});

test("what is no value is refused in GLib's words, with the place", () => {
  const wrong: [string, string][] = [
    ['foo', '0-3:unknown keyword'],
    ['', '0:expected value'],
    ['[]', '0-2:unable to infer type'],
    ['(1)', "2:expected ',' after first tuple element"],
    ['[1 2]', "3:expected ',' or ']' to follow array element"],
    ["'abc", '0-4:unterminated string constant'],
    ["'a' 'b'", '4:expected end of input'],
    ['@a* []', '0-3:type declarations must be definite'],
    ['uint32 -1', "7-9:number out of range for type 'u'"],
    ['99999999999999999999', '0-20:integer too big for any type'],
    ['{[1]: 2}', '0-8:dictionary keys must have basic types'],
  ];
  for (const [text, message] of wrong) assert.throws(() => parseValue(text), { code: 'invalid', message });
});

test('numbers of the other byte order are those that ostree show prints', () => {
  const { type, value } = parseValue("{'n': <uint64 42>, 's': <'x'>, 'b': <byte 7>, 'i': <(int16 1, [uint32 1])>}");
  const swapped = byteswap(type, value);
  assert.equal(
    printValue(type, swapped),
    "{'n': <uint64 3026418949592973312>, 's': <'x'>, 'b': <byte 0x07>, 'i': <(int16 256, [uint32 16777216])>}",
  );
  assert.deepEqual(byteswap(type, swapped), value);
});

const texts = ["{'a': <1>, 'b': <[uint64 2]>}", "('x', b'y\\001', [just 1.5, nothing])", "@a{sas} {'k': ['\\u00e9']}"];

test('mangled text is a value or is refused, and a printed value is read back', () => {
  const piece = fc.constantFrom("'", '"', '[', ']', '(', '{', '<', '>', '@', 'm', 'a', '\\', '0x', 'byte ', ',', ':');
  fc.assert(
    fc.property(fc.constantFrom(...texts), fc.array(fc.tuple(fc.nat(60), piece), { maxLength: 5 }), (text, edits) => {
      let mangled = text;
      for (const [at, what] of edits) mangled = mangled.slice(0, at) + what + mangled.slice(at + 1);
      try {
        const { type, value } = parseValue(mangled);
        const printed = printValue(type, value);
        assert.deepEqual(parseValue(printed), { type, value });
      } catch (error) {
        assert.ok(error instanceof OstreeError && error.code === 'invalid', String(error));
      }
    }),
    { numRuns: 3000 },
  );
  for (const text of ['['.repeat(100_000), '<'.repeat(1000), '@'.repeat(1000), `@${'a'.repeat(5000)}y []`]) {
    assert.throws(() => parseValue(text), { code: 'invalid' });
  }
});
