import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDate } from './date-text.ts';
import { formatHelp, type OptionSpec, parseOptions } from './options.ts';

const options: Record<string, OptionSpec> = {
  branch: { type: 'string', short: 'b', help: '' },
  depth: { type: 'integer', help: '' },
  set: { type: 'string', multiple: true, help: '' },
  force: { type: 'boolean', short: 'f', help: '' },
  quiet: { type: 'boolean', short: 'q', help: '' },
  view: { type: 'boolean', short: 'v', help: 'View' },
  size: { type: 'string', optional: true, help: '' },
};

test('options are taken as GLib takes them', () => {
  const parse = (...argv: string[]) => parseOptions(argv, options);
  assert.equal(parse('--depth', '-1').text('depth'), '-1');
  assert.equal(parse('--depth=-1').text('depth'), '-1');
  assert.equal(parse('-b', 'x').text('branch'), 'x');
  assert.equal(parse('-bx').text('branch'), 'x');
  assert.equal(parse('-qfb', '-x').text('branch'), '-x');
  assert.equal(parse('--branch=a', '--branch=b=c').text('branch'), 'b=c');
  assert.equal(parse('--branch=').text('branch'), '');
  assert.deepEqual(parse('--set=a', 'x', '--set', 'b').list('set'), ['a', 'b']);
  assert.deepEqual(parse('a', '-q', '-', '--', '-f', '--', 'b').positionals, ['a', '-', '-f', '--', 'b']);
  assert.equal(parse('a', '--', '-f').flag('force'), false);
  assert.equal(parse('--size').text('size'), '');
  assert.equal(parse('--size=3').text('size'), '3');
  assert.equal(parse('-v').flag('view'), true);
  assert.equal(parse('-v').flag('verbose'), false);
  assert.equal(parse().text('branch'), undefined);
});

test('what is wrong is said in the words of GLib', () => {
  const cases: [string[], string][] = [
    [['--nope'], 'Unknown option --nope'],
    [['--nope=1'], 'Unknown option --nope=1'],
    [['--force=1'], 'Unknown option --force=1'],
    [['-z'], 'Unknown option -z'],
    [['-qz'], 'Unknown option -qz'],
    [['--branch'], 'Missing argument for --branch'],
    [['-b'], 'Missing argument for -b'],
    [['--depth=x'], 'Cannot parse integer value “x” for --depth'],
    [['--depth=99999999999'], 'Integer value “99999999999” for --depth out of range'],
    [['--toString'], 'Unknown option --toString'],
    [['--__proto__=x'], 'Unknown option --__proto__=x'],
  ];
  for (const [argv, message] of cases) assert.throws(() => parseOptions(argv, options), { message });
});

test('help lists what there is, and a letter only where it means that', () => {
  const help = formatHelp({ command: 'ostree x', usage: 'Y', summary: 'Does x', options });
  assert.match(help, /^Usage:\n {2}ostree x \[OPTION…\] Y\n\nDoes x\n/);
  assert.match(help, /-v, --view +View/);
  assert.match(help, /^ {2}--verbose/m);
});

test('dates are what people write for ostree', () => {
  const now = Math.floor(Date.now() / 1000);
  assert.equal(parseDate('@1700000000'), 1_700_000_000);
  assert.equal(parseDate('@1700000000.9'), 1_700_000_000);
  assert.equal(parseDate('2005-10-29 12:43:29 +0000'), 1_130_589_809);
  assert.equal(parseDate('2005-10-29T12:43:29Z'), 1_130_589_809);
  assert.equal(parseDate('2005-10-29'), new Date(2005, 9, 29).getTime() / 1000);
  assert.equal(parseDate('October 25 1985'), new Date(1985, 9, 25).getTime() / 1000);
  assert.ok(parseDate('November 05 1955')! < 0);
  const week = parseDate('1 week ago')!;
  assert.ok(Math.abs(now - 7 * 86_400 - week) < 7300); // summer time
  assert.ok(Math.abs(parseDate('now')! - now) < 5);
  for (const bad of ['', '   ', 'BACON', '2005-13-45', '@', '@x', '--version', '$(id)', "'; id", '1 week agoo']) {
    assert.equal(parseDate(bad), null, bad);
  }
});
