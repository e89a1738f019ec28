import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const bin = fileURLToPath(new URL('../../bin/treeline.js', import.meta.url));

/** Two commits of `main`, and the folders that they were made of. */
function history(t: TestContext) {
  const base = mkdtempSync(join(tmpdir(), 'treeline-diff-'));
  t.after(() => rmSync(base, { recursive: true, force: true }));
  const run = (program: string, args: string[]): SpawnSyncReturns<string> =>
    spawnSync(program, args, { cwd: base, encoding: 'utf8' });
  const theirs = (...args: string[]) => run('ostree', [...args, '--repo=repo']);
  const ours = (...args: string[]) => run(process.execPath, [bin, 'repo', ...args, '--repo=repo']);
  const output = (...args: string[]) => {
    const { status, stdout, stderr } = ours(...args);
    assert.equal(status, 0, `${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  theirs('init', '--mode=archive');
  for (const version of ['old', 'new']) {
    const folder = join(base, version);
    mkdirSync(join(folder, 'sub'), { recursive: true });
    writeFileSync(join(folder, 'text'), version === 'old' ? 'a\nb\nc\n' : 'a\nB\nc\n');
    writeFileSync(join(folder, 'mode'), 'mode');
    chmodSync(join(folder, 'mode'), version === 'old' ? 0o644 : 0o4750);
    symlinkSync(version, join(folder, 'link'));
    if (version === 'old') writeFileSync(join(folder, 'sub/gone'), 'gone');
    else {
      mkdirSync(join(folder, 'more/deep'), { recursive: true });
      writeFileSync(join(folder, 'more/deep/file'), 'x'.repeat(5000));
    }
    theirs('commit', '-b', 'main', `--tree=dir=${folder}`);
  }
  return { base, ours, theirs, output };
}

test('prints what ostree prints: of commits, of folders, and of one with the other', (t) => {
  const { ours, theirs } = history(t);
  for (const line of [
    'main',
    'main^ main',
    'main main^',
    'main ./old',
    './new main^',
    './old ./new',
    'main ./new',
    '--owner-uid=1 --owner-gid=2 main ./new',
    '--owner-uid=1 ./old ./new',
    '--no-xattrs main ./new',
    '--stats main',
    '--stats --fs-diff main^ main',
    'nope',
    'main ./nope',
    '--stats main ./new',
  ]) {
    const args = ['diff', ...line.split(' ')];
    const [a, b] = [ours(...args), theirs(...args)];
    // Folders on disk are read in no order.
    const sorted = (text: string) => (line.includes('./') ? text.split('\n').sort() : text);
    assert.deepEqual(sorted(a.stdout), sorted(b.stdout), line);
    assert.equal(a.status, b.status, `${line}: ${a.stderr}`);
    if (line === 'nope') assert.ok(a.stderr.startsWith(b.stderr.trimEnd()), a.stderr);
  }
});

test('--sizes says what differs and what a pull fetches', (t) => {
  const { output } = history(t);
  assert.match(
    output('diff', '--sizes', 'main'),
    new RegExp(
      [
        '^M    /link \\(target old -> new; fetch \\d+\\)',
        'M    /mode \\(mode 0644 -> 4750; 4 bytes; fetch \\d+\\)',
        'A    /more',
        'A    /more/deep',
        'A    /more/deep/file \\(5000 bytes; fetch \\d+\\)',
        'D    /sub/gone \\(4 bytes\\)',
        'M    /text \\(content; 6 bytes; fetch \\d+\\)',
        'Fetch: 8 of \\d+ objects, \\d+ of \\d+ bytes\n$',
      ].join('\n'),
    ),
  );
});

test('--patch is a patch, --export an overlay; with a folder on either side, too', (t) => {
  const { base, output } = history(t);
  for (const sides of [['main'], ['main^', './new'], ['./old', 'main']]) {
    assert.match(
      output('diff', '--patch', ...sides),
      /^--- a\/text\n\+\+\+ b\/text\n@@ -1,3 \+1,3 @@\n a\n-b\n\+B\n c$/m,
    );
    assert.equal(output('diff', '--export=overlay.tar', ...sides), '');
    const { stdout } = spawnSync('tar', ['-tf', join(base, 'overlay.tar')], { encoding: 'utf8' });
    assert.deepEqual(stdout.trim().split('\n'), [
      './',
      'link',
      'mode',
      'more/',
      'more/deep/',
      'more/deep/file',
      'sub/',
      'sub/.wh.gone',
      'text',
    ]);
  }
});

test('an exported overlay, committed over the old tree, gives the new one, and back', (t) => {
  const { output } = history(t);
  for (const [from, to] of [
    ['main^', 'main'],
    ['main', 'main^'],
  ] as const) {
    output('diff', '--export=overlay.tar', from, to);
    output('commit', '--branch=again', `--tree=ref=${from}`, '--tree=overlay=overlay.tar');
    assert.equal(output('diff', to, 'again'), '');
    const root = (rev: string) => output('ls', '-d', '-C', rev);
    assert.equal(root('again'), root(to));
  }
});
