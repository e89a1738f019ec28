import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { checkout, openRepo, type Repo, readFileObject, treeReader } from '@treeline/ostree';
import type { Tree } from '../protocol.ts';
import { runRunner } from '../runner.ts';
import type { RunnerOptions } from '../settings.ts';
import { temporaryFolder } from '../testing/sandbox-job.ts';
import type { TestServer } from '../testing/server.ts';
import { eventually, outputsOf, startTestServer, TEST_TOKEN } from '../testing/server.ts';
import { testStore } from '../testing/store.ts';

/** Owner, mode and names of attributes of all that a tree holds, by path. */
async function attributesOf(repo: Repo, tree: Tree): Promise<Map<string, string>> {
  const reader = treeReader(repo);
  const found = new Map<string, string>();
  const visit = async (at: Tree, path: string): Promise<void> => {
    const { files, dirs } = reader.dirTree(at.contents);
    for (const [name, checksum] of files) {
      const { uid, gid, mode, xattrs } = (await readFileObject(repo, checksum)).header;
      const names = xattrs.map(([attribute]) => ` ${Buffer.from(attribute)}`).join('');
      found.set(`${path}/${name}`, `${uid}:${gid} ${mode.toString(8)}${names}`);
    }
    for (const [name, child] of dirs) {
      const { uid, gid, mode } = reader.dirMeta(child.meta);
      found.set(`${path}/${name}`, `${uid}:${gid} ${mode.toString(8)}`);
      await visit(child, `${path}/${name}`);
    }
  };
  await visit(tree, '');
  return found;
}

/** A server, a store and a runner that stops with the test. */
type Bench = {
  folder: string;
  server: TestServer;
  put: (files: Record<string, string>) => Promise<Tree>;
  lines: string[];
  start: (options?: Partial<RunnerOptions>) => Promise<void>;
  /** Checks an output out and returns its folder. */
  look: (tree: Tree) => Promise<string>;
};
let bench: Bench;
let cleanUp: () => Promise<void>;

beforeEach(async () => {
  const folder = await temporaryFolder();
  const server = await startTestServer();
  const store = await testStore(folder.path);
  const stopping = new AbortController();
  const runners: Promise<void>[] = [];
  const lines: string[] = [];
  let looks = 0;
  bench = {
    folder: folder.path,
    server,
    put: store.put,
    lines,
    start: (options = {}) => {
      const running = runRunner({
        server: server.url,
        token: TEST_TOKEN,
        store: store.path,
        workDir: join(folder.path, 'work'),
        concurrency: 2,
        waitSeconds: 5,
        signal: stopping.signal,
        log: (line) => lines.push(line),
        ...options,
      });
      runners.push(running.catch(() => {}));
      return running;
    },
    look: async (tree) => {
      const dest = join(folder.path, `look-${++looks}`);
      await checkout(await openRepo(store.path), tree, dest, { userMode: true });
      return dest;
    },
  };
  cleanUp = async () => {
    stopping.abort();
    await Promise.all(runners);
    await server.close();
    await folder[Symbol.asyncDispose]();
  };
});
afterEach(() => cleanUp());

test('a job is a function from trees to trees', async () => {
  const { server, put } = bench;
  const execution = server.enqueue({
    source: await put({ 'build.sh': 'tr a-z A-Z < /in/app/text > $OUT/package/text', sub: 'x' }),
    inputs: [{ name: 'app', tree: await put({ text: 'hello' }) }],
    command:
      'mkdir $OUT/package\n. ./build.sh\nln -s /etc/passwd $OUT/package/link\nchmod 640 $OUT/package/text\necho done',
    outputs: [
      { name: 'package', path: 'package' },
      { name: 'all', path: '.' },
    ],
  });
  void bench.start();
  const outputs = outputsOf(await execution.completed);
  const folder = await bench.look(outputs.package!);
  assert.equal(await readFile(join(folder, 'text'), 'utf8'), 'HELLO');
  assert.equal((await stat(join(folder, 'text'))).mode & 0o777, 0o640);
  assert.equal(await readlink(join(folder, 'link')), '/etc/passwd');
  assert.deepEqual(await readdir(await bench.look(outputs.all!)), ['package']);
  assert.equal(execution.log, 'done\n');
  assert.deepEqual(await readdir(join(bench.folder, 'work/jobs')), []);
});

test('a root job makes what belongs to others, sees that of its inputs, and leaves nothing behind', async () => {
  const { server } = bench;
  const root = { root: true, outputs: [{ name: 'all', path: '.' }] };
  const made = server.enqueue({
    ...root,
    command: `mkdir -p etc usr/bin; echo secret > etc/shadow; chown 0:42 etc/shadow; chmod 640 etc/shadow
      cp /bin/true usr/bin/su; chmod 4755 usr/bin/su; ln -s su usr/bin/link; chown -h 7:8 usr/bin/link
      setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 etc/shadow
      setfattr -n user.note -v kept etc/shadow
      cp -a etc usr "$OUT"`,
  });
  void bench.start();
  const { all } = outputsOf(await made.completed);
  const files = await attributesOf(await openRepo(join(bench.folder, 'store')), all!);
  assert.deepEqual(Object.fromEntries(files), {
    '/etc': '0:0 40755',
    '/etc/shadow': '0:42 100640 security.capability user.note',
    '/usr': '0:0 40755',
    '/usr/bin': '0:0 40755',
    '/usr/bin/link': '7:8 120777',
    '/usr/bin/su': '0:0 104755',
  });
  const copied = server.enqueue({
    ...root,
    inputs: [{ name: 'base', tree: all! }],
    command: 'stat -c "%u:%g %a" /in/base/etc/shadow; cat /in/base/etc/shadow; cp -a /in/base/. "$OUT"',
  });
  assert.deepEqual(outputsOf(await copied.completed).all, all);
  assert.equal(copied.log, '0:42 640\nsecret\n');
  const plain = server.enqueue({
    inputs: [{ name: 'base', tree: all! }],
    command: 'cat /in/base/etc/shadow 2>/dev/null; id -u; ls -l /in/base/usr/bin/su | cut -c 1-10',
  });
  await plain.completed;
  assert.equal(plain.log.split('\n').at(-2), '-rwxr-xr-x');
  assert.deepEqual(await readdir(join(bench.folder, 'work/jobs')), []);
});

test('the same job gives the same trees, also where the order of files is not the same', async () => {
  const { server } = bench;
  const job = { outputs: [{ name: 'all', path: '.' }] };
  const one = server.enqueue({ ...job, command: 'mkdir $OUT/d; echo 1 > $OUT/d/a; echo 2 > $OUT/d/b' });
  const two = server.enqueue({ ...job, command: 'mkdir $OUT/d; echo 2 > $OUT/d/b; echo 1 > $OUT/d/a' });
  void bench.start();
  assert.deepEqual(outputsOf(await one.completed), outputsOf(await two.completed));
});

test('the source can be written to, without a change to anything else', async () => {
  const { server, put } = bench;
  const source = await put({ file: 'as it was' });
  const job = { source, inputs: [{ name: 'in', tree: source }], command: 'cat file /in/in/file; echo changed > file' };
  const one = server.enqueue(job);
  void bench.start();
  await one.completed;
  const two = server.enqueue(job);
  await two.completed;
  assert.equal(two.log, 'as it wasas it was');
});

test('a runner says what it is and what it emulates, and a job that is emulated says so first', async () => {
  const { server } = bench;
  const execution = server.enqueue({ emulated: ['gpu'], command: 'echo trained' });
  void bench.start({ emulate: ['gpu'], labels: ['fast'], name: 'here' });
  await execution.completed;
  assert.equal(execution.log, 'treeline: this runner has no GPU and emulates one: the job runs on the CPU\ntrained\n');
  const { name, arch, emulates, labels, sandbox, cpus } = server.offers[0]!;
  assert.deepEqual([name, emulates, labels, sandbox], ['here', ['gpu'], ['fast'], 'bubblewrap']);
  assert.match(arch, /^(x86_64|aarch64)$/);
  assert.ok(cpus > 0);
});

test('each way to fail has its reason and a message that says what to look at', async () => {
  const { server } = bench;
  const cases: Array<[Parameters<TestServer['enqueue']>[0], string, RegExp]> = [
    [{ command: 'exit 3' }, 'exit', /exit status 3/],
    [{ command: 'sleep 60', timeoutSeconds: 0.3 }, 'timeout', /longer than its limit of 0.3 s/],
    [{ command: 'head -c 9000000 /dev/zero > $OUT/x', diskBytes: 1024 ** 2 }, 'disk-full', /limit of 1M/],
    [{ outputs: [{ name: 'm', path: 'm' }] }, 'output-missing', /output "m".*\/out is empty/],
    [{ command: 'echo > $OUT/m', outputs: [{ name: 'm', path: 'm' }] }, 'output-invalid', /\/out\/m is a file/],
    [{ command: 'mkfifo $OUT/p', outputs: [{ name: 'm', path: '.' }] }, 'output-invalid', /\/out\/p is a device/],
  ];
  const executions = cases.map(([job]) => server.enqueue(job));
  void bench.start();
  for (const [index, [, reason, message]] of cases.entries()) {
    const execution = executions[index]!;
    const result = await execution.completed;
    assert.equal(result.status === 'failed' && result.reason, reason);
    assert.match(result.status === 'failed' ? result.message : '', message);
    assert.match(execution.log, message);
  }
});

test('an input that is not in the store is no fault of the job', async () => {
  const { server } = bench;
  const tree = { contents: 'a'.repeat(64), meta: 'b'.repeat(64) };
  const execution = server.enqueue({ inputs: [{ name: 'app', tree }] });
  void bench.start();
  const result = await execution.completed;
  assert.equal(result.status, 'infrastructure');
  assert.match(
    result.status === 'infrastructure' ? result.message : '',
    /could not check out its input "app": .*(no object|No such metadata object)/,
  );
});

test('output is there while the job runs', async () => {
  const { server } = bench;
  const execution = server.enqueue({ command: 'echo first; while ! test -e /tmp/never; do sleep 0.1; done' });
  void bench.start();
  await eventually(() => execution.log === 'first\n', 'the first line');
  assert.equal(execution.result, null);
  execution.cancel = true;
  const result = await execution.completed;
  assert.equal(result.status === 'failed' && result.reason, 'killed');
});

test("a job whose lease is another's is killed at once and not reported", async () => {
  const { server, lines } = bench;
  const execution = server.enqueue({ command: 'echo begun; sleep 60' });
  void bench.start();
  await eventually(() => execution.log !== '', 'the job runs');
  execution.stale = true;
  await eventually(() => lines.some((line) => line.includes('gave up')), 'the job is given up');
  assert.equal(execution.result, null);
  const next = server.enqueue({});
  outputsOf(await next.completed);
});

test('a restart of the server in the middle of a job loses nothing of its log or its result', async () => {
  const { server } = bench;
  const command = 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do echo line $i; sleep 0.1; done';
  const execution = server.enqueue({ command });
  void bench.start();
  await eventually(() => execution.log !== '', 'the job runs');
  await server.restart(700);
  outputsOf(await execution.completed);
  assert.equal(execution.log, Array.from({ length: 15 }, (_, i) => `line ${i + 1}\n`).join(''));
});

test('a result that the server cannot take now is told again', async () => {
  const { server } = bench;
  const execution = server.enqueue({});
  execution.completeStatuses = [503, 500, 429];
  void bench.start();
  outputsOf(await execution.completed);
});

test('outputs that are not whole in the store are no fault of the job', async () => {
  const { server } = bench;
  const execution = server.enqueue({ outputs: [{ name: 'all', path: '.' }] });
  execution.completeStatuses = [422];
  void bench.start();
  const result = await execution.completed;
  assert.equal(result.status, 'infrastructure');
});

test('a job of which the server has not heard for too long is given up', async () => {
  const { server, lines } = bench;
  const execution = server.enqueue({ command: 'echo begun; sleep 60' });
  void bench.start({ giveUpSeconds: 3 });
  await eventually(() => execution.log !== '', 'the job runs');
  server.down = true;
  await eventually(() => lines.some((line) => line.includes('did not answer')), 'the job is given up');
});

test('no more jobs run at once than the runner has places', async () => {
  const { server } = bench;
  const jobs = [1, 2, 3].map(() =>
    server.enqueue({ command: 'echo begun; while ! test -e /tmp/never; do sleep 0.05; done' }),
  );
  void bench.start();
  await eventually(() => jobs[0]!.log !== '' && jobs[1]!.log !== '', 'two run');
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(jobs[2]!.heartbeats, 0);
  jobs[0]!.cancel = true;
  await eventually(() => jobs[2]!.log !== '', 'the third runs');
});

test('a runner that is stopped kills its jobs and says that it was not their fault', async () => {
  const { server } = bench;
  const stopping = new AbortController();
  const execution = server.enqueue({ command: 'echo begun; sleep 60' });
  const running = bench.start({ signal: stopping.signal });
  await eventually(() => execution.log !== '', 'the job runs');
  stopping.abort();
  assert.equal((await execution.completed).status, 'infrastructure');
  await running;
  assert.deepEqual(await readdir(join(bench.folder, 'work/jobs')), []);
});

test('two runners never share a work folder', async () => {
  const first = bench.start();
  await eventually(() => bench.server.offers.length > 0, 'the first runs');
  const { openWorkFolder } = await import('../work-folder.ts');
  await assert.rejects(openWorkFolder(join(bench.folder, 'work'), { waitMs: 0 }), {
    code: 'busy',
    hint: /TREELINE_RUNNER_DIR/,
  });
  void first;
});

test('a runner whose token is refused says so and ends', async () => {
  await assert.rejects(bench.start({ token: 'wrong' }), { name: 'RunnerError', code: 'unauthorized' });
  assert.equal(existsSync(join(bench.folder, 'work')), true);
});
