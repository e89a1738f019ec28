import { decode } from '../../../gvariant/decode.ts';
import { encode, type Value } from '../../../gvariant/encode.ts';
import { parseValue } from '../../../gvariant/parse.ts';
import { printValue } from '../../../gvariant/print.ts';
import { parseType } from '../../../gvariant/type.ts';
import { assertCanonical, assertStable, type FuzzTarget } from '../target.ts';

const bytes = (length: number) => Buffer.alloc(length, 0xab);

const values: [type: string, ...values: Value[]][] = [
  ['s', '', 'text', 'Grüße'],
  ['ay', bytes(0), bytes(40)],
  ['as', [], ['a', '', 'c'], Array.from({ length: 40 }, (_, index) => `item ${index}`)],
  ['aay', [], [bytes(3), bytes(0), bytes(32)]],
  ['ai', [], [1, -2, 3]],
  ['(yxnbqts)', [1, -2n, -3, true, 4, 5n, 'end']],
  ['(sis)', ['a', 5, 'b']],
  ['a(ayay)', [[bytes(2), bytes(5)]], []],
  [
    'a{sv}',
    [],
    [
      ['k', { type: 's', value: 'v' }],
      ['n', { type: 'a{sv}', value: [['x', { type: 'u', value: 7 }]] }],
    ],
  ],
  ['v', { type: '(us)', value: [1, 'x'] }, { type: 'v', value: { type: 'v', value: { type: 'y', value: 1 } } }],
  ['mms', null, 'x'],
  ['ms', null, 'text'],
  ['mi', null, 5],
  [
    'a{us}',
    [
      [1, 'one'],
      [2, 'two'],
    ],
  ],
  ['(a{sv}aya(say)sstayay)', [[], bytes(0), [], 's', 'b', 5n, bytes(32), bytes(32)]],
  ['((ss)(yy)a(tt))', [['a', 'b'], [1, 2], [[1n, 2n]]]],
  ['()', []],
  ['a()', [[], [], []]],
  ['aas', [['a'], [], ['b', 'c']]],
];

const texts = [
  "'text'",
  '"with \\n \\u00e4 \\U0001f600 escapes"',
  'uint64 42',
  '-5',
  '1.5e3',
  '[1, 2, 3]',
  "{'a': <true>, 'b': <@as []>}",
  "('x', byte 0x05, [b'bytes', b'\\377'])",
  '@a{sv} {}',
  "just <('deep', [<1>, <<2>>])>",
  '@ms nothing',
  "[{1: 'a'}, {2: 'b'}]",
];

export function makeTargets(): FuzzTarget[] {
  return [
    ...values.map(
      ([type, ...list]): FuzzTarget => ({
        name: `gvariant-${fileName(type)}`,
        cost: 'memory',
        samples: list.map((value) => encode(type, value)),
        feed(input) {
          const value = decode(type, input);
          assertCanonical(input, encode(type, value));
        },
      }),
    ),
    {
      name: 'gvariant-type',
      cost: 'memory',
      samples: values.map(([type]) => Buffer.from(type)),
      feed: (input) => void parseType(input.toString('latin1')),
    },
    {
      name: 'gvariant-text',
      cost: 'memory',
      samples: texts.map((text) => Buffer.from(text)),
      feed(input) {
        const { type, value } = parseValue(input.toString('utf8'));
        const data = encode(type, value);
        const again = parseValue(printValue(type, decode(type, data)));
        assertStable(type, again.type);
        assertCanonical(data, encode(again.type, again.value));
      },
    },
  ];
}

/** Types as parts of file names. */
function fileName(type: string): string {
  return type.replaceAll('(', 'L').replaceAll(')', 'J').replaceAll('{', 'D').replaceAll('}', 'P');
}
