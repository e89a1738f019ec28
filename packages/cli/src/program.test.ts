import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { exitCodeMeanings, toCliError } from './errors.ts';
import { verbOf } from './program.ts';
import { treeline } from './testing/command.ts';
import { verbs } from './verbs.ts';

test('every verb has a module of its own, and every module is a verb', async () => {
  const files = (await readdir(new URL('verbs', import.meta.url))).filter((file) => !file.endsWith('.test.ts'));
  assert.deepEqual(files.sort(), verbs.map(({ name }) => `${name}.ts`).sort());
});

test('the verb is found behind options of the program', () => {
  assert.equal(verbOf(['--data', 'run', 'status']), 'status');
  assert.equal(verbOf(['--server=http://x', '--json', 'devices', 'list']), 'devices');
  assert.equal(verbOf(['help', 'diff']), 'diff');
  assert.equal(verbOf(['--help']), undefined);
  assert.equal(verbOf(['--data']), undefined);
});

test('help lists every verb and every exit code and fits 80 columns', async () => {
  const { code, stdout, stderr } = await treeline(['--help']);
  assert.equal(code, 0);
  assert.equal(stderr, '');
  for (const { name, hidden } of verbs) assert.equal(new RegExp(`^  ${name}\\b`, 'm').test(stdout), !hidden, name);
  for (const [exit, meaning] of exitCodeMeanings)
    assert.match(stdout, new RegExp(`${exit}  ${meaning.slice(0, 20)}`.replace(/[()]/g, '.')));
  assert.match(stdout, /^ {2}repo /m);
  assert.deepEqual(
    stdout.split('\n').filter((line) => line.length > 80),
    [],
  );
});

test('every verb explains itself', async () => {
  const helps = await Promise.all(verbs.map(({ name }) => treeline([name, '--help'])));
  for (const [index, { code, stdout, stderr }] of helps.entries()) {
    assert.deepEqual([code, stderr], [0, ''], verbs[index]!.name);
    assert.match(stdout, new RegExp(`^Usage: treeline ${verbs[index]!.name}`));
    assert.match(stdout, /Also: --server/);
  }
  assert.equal((await treeline(['help', 'diff'])).stdout, (await treeline(['diff', '--help'])).stdout);
});

test('no verb at all shows the help', async () => {
  const { code, stdout } = await treeline([]);
  assert.equal(code, 0);
  assert.match(stdout, /^Usage: treeline/);
});

test('the version is that of the package', async () => {
  const { default: manifest } = await import('../package.json', { with: { type: 'json' } });
  assert.equal((await treeline(['--version'])).stdout, `${manifest.version}\n`);
});

const wrong: Array<[string[], RegExp]> = [
  [['rnu'], /Unknown command 'rnu'\.\n {2}Did you mean run\?\n {2}See: treeline --help/],
  [['run', '--wiat'], /Unknown option '--wiat'\.\n {2}Did you mean --wait\?\n {2}See: treeline run --help/],
  [['logs'], /Missing required argument 'job'/],
  [['publish', 'abc'], /Required option '--to <channel>' not specified/i],
  [['publish', 'abc', '--to', 'a b'], /"a b" is no channel/],
  [['publish', 'a', 'b', '--to', 'c'], /2 commits for 1 channels/],
  [['publish', 'a', '--to', 'x:c', '--to', 'y:c'], /in one repository, not in x, y/],
  [['publish', 'a', '--to', 'c', '--expect', 'a', '--expect', 'b'], /2 --expect for 1 channels/],
  [['release', 'show', 'x'], /"x" is no number of a release/],
  [['repository', 'set', 'public', 'acess=public'], /no setting "acess"/],
  [['repository', 'set', 'public', 'access=open'], /access must be public or private/],
  [['repository', 'set', 'public', 'signing=pgp:x'], /"pgp:x" is no signing key/],
  [['label', 'abc', 'internal'], /needs a reason/],
  [['diff', 'one'], /Missing required argument 'to'/],
  [['runs', '-n', 'many'], /whole number above 0/],
  [['runs', 'extra'], /Too many arguments/],
  [['devices', 'board-1'], /There is no `treeline devices board-1`\.\n {2}There are: list, show/],
  [['run', '--revision', 'main'], /--revision needs the project/],
  [['agent', 'status'], /Which board\? --board is missing/],
  [['agent', 'enrol', '--board', '/tmp', '--gateway', 'https://127.0.0.1:1'], /The enrolment token is missing/],
  [
    ['agent', 'enrol', '--board', '/nonexistent/board', '--gateway', 'http://x', '--token', 'a.b', '--id', 'x'],
    /no address of a gateway/,
  ],
  [['up', '--port', '70000'], /port, 0 to 65535/],
  [['up', '--server', 'http://127.0.0.1:1'], /this starts one/],
  [['runs', '--server', 'ftp://example.org'], /--server is not the address of a server: ftp:/],
];

test('a wrong command line is exit code 2, says what is wrong, and where to look', async () => {
  const ends = await Promise.all(wrong.map(([args]) => treeline(args)));
  for (const [index, [args, message]] of wrong.entries()) {
    const { code, stdout, stderr } = ends[index]!;
    assert.equal(code, 2, args.join(' '));
    assert.equal(stdout, '');
    assert.match(stderr, message);
  }
});

test('a reader that has seen enough ends the command quietly', async () => {
  const { code, stderr } = await treeline(['--help'], { closeStdout: true });
  assert.deepEqual([code, stderr], [0, '']);
});

test('errors of the other packages keep their words, and what nobody expected is a defect', () => {
  const foreign = Object.assign(new Error('no such object'), { code: 'not-found', hint: 'pull it' });
  assert.deepEqual([toCliError(foreign).code, toCliError(foreign).hint], ['not-found', 'pull it']);
  const system = Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC', syscall: 'write' });
  assert.equal(toCliError(system).code, 'failed');
  assert.match(toCliError(system).hint!, /make room/);
  const call = Object.assign(new TypeError('bad argument'), { code: 'ERR_INVALID_ARG_TYPE' });
  assert.equal(toCliError(call).code, 'defect');
  assert.equal(toCliError(new Error('oops')).code, 'defect');
  assert.equal(toCliError(null).code, 'defect');
});
