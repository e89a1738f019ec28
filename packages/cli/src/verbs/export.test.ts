import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { treeline } from '../testing/command.ts';

function setUp(t: TestContext): { base: string; repo: string; commit(text: string): string } {
  const base = mkdtempSync(join(tmpdir(), 'treeline-export-'));
  t.after(() => rmSync(base, { recursive: true, force: true }));
  const repo = join(base, 'data/repos/public');
  mkdirSync(join(base, 'tree'));
  mkdirSync(join(base, 'data/repos'), { recursive: true });
  execFileSync('ostree', ['init', `--repo=${repo}`, '--mode=archive']);
  const commit = (text: string) => {
    writeFileSync(join(base, 'tree/file'), text);
    const options = ['-b', 'os/stable', `--tree=dir=${join(base, 'tree')}`];
    const made = execFileSync('ostree', ['commit', `--repo=${repo}`, ...options], { encoding: 'utf8' }).trim();
    execFileSync('ostree', ['summary', `--repo=${repo}`, '-u']);
    return made;
  };
  return { base, repo, commit };
}

test('a published repository is exported by its name or path, and said to be up to date when it is', async (t) => {
  const { base, repo, commit } = setUp(t);
  commit('one');
  const env = { TREELINE_DATA: join(base, 'data') };
  const www = join(base, 'www');
  const first = await treeline(['export', 'public', www], { env });
  assert.deepEqual([first.code, first.stderr], [0, '']);
  assert.match(first.stdout, /www got 4 files, moved 1 ref, has a new summary \(/);
  assert.match((await treeline(['export', 'public', www], { env })).stdout, /was up to date/);
  const second = commit('two');
  const { stdout } = await treeline(['export', repo, www, '--copy', '--json']);
  const { files, refs, bytesCopied, summary, folder } = JSON.parse(stdout) as Record<string, unknown>;
  assert.deepEqual([files, refs, summary, folder], [3, 1, true, www]);
  assert.ok((bytesCopied as number) > 100);
  execFileSync('ostree', ['prune', `--repo=${repo}`, '--refs-only', '--depth=0']);
  const waiting = await treeline(['export', 'public', www, '--delete'], { env });
  assert.match(waiting.stdout, /was up to date.*\n3 files will go/);
  await new Promise((resolve) => setTimeout(resolve, 1100));
  assert.match((await treeline(['export', 'public', www, '--delete', '--keep', '1s'], { env })).stdout, /lost 3 files/);
  execFileSync('ostree', ['fsck', `--repo=${www}`]);
  assert.equal(
    execFileSync('ostree', ['rev-parse', `--repo=${www}`, 'os/stable'], { encoding: 'utf8' }).trim(),
    second,
  );
});

test('what cannot be is refused with what to do', async (t) => {
  const { base, repo, commit } = setUp(t);
  commit('one');
  const cases: [args: string[], code: number, says: RegExp][] = [
    [['export', 'none', join(base, 'www')], 5, /no published repository none/],
    [['export', repo, join(base, 'tree')], 6, /holds something else: file/],
    [['export', repo, repo], 2, /cannot be in the same place/],
    [['export', repo, join(base, 'x'), '--link', '--copy'], 2, /contradict/],
    [['export', repo, join(base, 'x'), '--keep', 'long'], 2, /span/],
    [['export', join(base, 'tree'), join(base, 'x')], 5, /not an OSTree repository/],
  ];
  for (const [args, code, says] of cases) {
    const ended = await treeline(args);
    assert.deepEqual([ended.code, ended.stdout], [code, ''], args.join(' '));
    assert.match(ended.stderr, says);
  }
  assert.ok(!existsSync(join(base, 'x')));
});
