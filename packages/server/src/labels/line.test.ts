import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { JobSpec } from '@treeline/runner';
import type {
  Artifact,
  CommitInfo,
  ErrorBody,
  LabelAnswer,
  Publication,
  ReleaseDetail,
  Run,
  RunDetail,
} from '../api/schema.ts';
import { openDatabase } from '../database/open.ts';
import { describeDatabases } from '../testing/databases.ts';
import { createGitRepository } from '../testing/git-repository.ts';
import { serveJobs } from '../testing/runner.ts';
import { scratch } from '../testing/scratch.ts';
import { startTestServer } from '../testing/server.ts';

const VENDOR = `
image: host
jobs:
  drivers: { paths: [drivers/**], run: make, outputs: { drivers: . } }
`;
const APP = `
image: host
jobs:
  package: { paths: [app.py], run: make, outputs: { package: . } }
`;
const SYSTEM = `
image: host
jobs:
  system:
    compose:
      - { tree: app/package, at: /app }
      - { tree: vendor/drivers, at: /drivers }
      - { remove: /drivers/README }
    output: system
publish:
  - { artifact: system, channel: robot/edge }
`;
const DECLARED = `${SYSTEM}releases:
  - artifact: system
    repository: public
    because: inside an image they may be shipped
`;

/** Makes a file of what the job is, and one that can be stripped off; of inputs only their number, so that they can be reused. */
const work = (job: JobSpec) =>
  Object.fromEntries(
    job.outputs.map(({ name }) => [name, { [name]: `${name} of ${job.project}\n`, README: 'read\n' }]),
  );

describeDatabases('labels along the line', (fresh) => {
  const setUp = async (t: TestContext) => {
    const folder = scratch(t);
    const repositories = {
      vendor: createGitRepository(`${folder}/vendor`),
      app: createGitRepository(`${folder}/app`),
      system: createGitRepository(`${folder}/system`),
    };
    const { vendor, app, system } = repositories;
    vendor.commit('Drivers', { 'treeline.yaml': VENDOR, 'drivers/camera': 'blob' });
    app.commit('App', { 'treeline.yaml': APP, 'app.py': 'drive()' });
    system.commit('System', { 'treeline.yaml': SYSTEM });
    const database = await fresh();
    const server = await startTestServer(t, { database });
    for (const [name, { path }] of Object.entries(repositories)) await server.addProject(name, path);
    const stop = new AbortController();
    t.after(() => stop.abort());
    const o = { url: server.url, token: server.runnerToken, dataDir: server.dataDir, signal: stop.signal };
    void serveJobs(o, work);
    const run = async (project: string): Promise<RunDetail> =>
      server.runEnd((await server.post<Run>(`/projects/${project}/run`)).id);
    const runAll = async (): Promise<RunDetail> => server.runEnd((await server.post<Run>('/runs')).id);
    const artifact = async (project: string, name: string): Promise<Artifact> => {
      const query = `project=${project}&artifact=${name}`;
      return (await server.get<{ artifacts: Artifact[] }>(`/artifacts?${query}`)).artifacts[0]!;
    };
    /** The words of a refusal. */
    const refused = async (commit: string, channel = 'robot/other', repository = 'public'): Promise<string> => {
      const { status, body } = await server.call('POST', '/publish', { commit, channel, repository });
      assert.equal(status, 422, JSON.stringify(body));
      return (body as ErrorBody).error.message;
    };
    const audited = async (action: string) => {
      const db = await openDatabase(database);
      const rows = await db.selectFrom('audit').selectAll().where('action', '=', action).orderBy('id').execute();
      await db.destroy();
      return rows.map((row) => ({ subject: row.subject, data: JSON.parse(row.data) as Record<string, unknown> }));
    };
    const info = (rev: string) => server.get<CommitInfo>(`/commits/${encodeURIComponent(rev)}`);
    return { server, ...repositories, run, runAll, artifact, refused, audited, info };
  };

  test('what is made from a restricted input is not released: the run fails and says through what it came in', async (t) => {
    const { server, vendor, run, refused, info } = await setUp(t);
    vendor.commit('Restrict', { 'treeline.yaml': `label: restricted:nda\n${VENDOR}` });
    const end = await run('vendor');
    assert.equal(end.state, 'failed');
    const [publish] = end.publishes;
    assert.equal(publish?.state, 'failed');
    assert.match(
      publish?.message ?? '',
      /^public does not admit system\/system <- vendor\/drivers \(restricted:nda\)\./,
    );
    // Not an object of it has come into the folder that the world reads.
    const objects = join(server.dataDir, 'repos/public/objects');
    assert.deepEqual(
      readdirSync(objects).flatMap((prefix) => readdirSync(join(objects, prefix))),
      [],
    );
    const message = 'public does not admit vendor/drivers (restricted:nda)';
    assert.equal(await refused('vendor/drivers'), message);
    assert.deepEqual(
      (await info('system/system')).labels.map(({ label, path, on, project }) => [label, path, on, project]),
      [
        [
          'public',
          [
            'system/system',
            'app/package',
            (await info('app/package')).provenance && `source of app at ${sourceOf(await info('app/package'), 'app')}`,
          ],
          'default',
          null,
        ],
        ['restricted:nda', ['system/system', 'vendor/drivers'], 'project', 'vendor'],
      ],
    );
    // Where it is admitted it may be.
    await server.post('/repositories', { name: 'partners', settings: { admits: ['restricted:nda'] } });
    await server.post('/publish', { commit: 'vendor/drivers', channel: 'drivers', repository: 'partners' });
  });

  test('an artifact that its project declares releasable goes out, and the audit log says by which revision and way', async (t) => {
    const { server, vendor, system, run, refused, audited } = await setUp(t);
    vendor.commit('Restrict', { 'treeline.yaml': `label: restricted:nda\n${VENDOR}` });
    assert.equal((await run('vendor')).state, 'failed');
    const revision = system.commit('Declare', { 'treeline.yaml': DECLARED });
    const end = await run('system');
    assert.equal(end.state, 'passed', JSON.stringify(end.publishes));
    const declared = await audited('release.declared');
    assert.deepEqual(declared, [
      {
        subject: 'public:robot/edge',
        data: {
          release: end.publishes[0]!.releaseId,
          artifact: 'system/system',
          because: 'inside an image they may be shipped',
          revision,
          file: 'treeline.yaml',
          line: 13,
          passed: [{ label: 'restricted:nda', path: ['system/system', 'vendor/drivers'] }],
        },
      },
    ]);
    const number = end.publishes[0]!.releaseId!.replace('release-', '');
    const { publication } = await server.get<ReleaseDetail>(`/releases/${number}`);
    assert.deepEqual(
      publication.declared.map(({ project, artifact }) => `${project}/${artifact}`),
      ['system/system'],
    );
    // By itself the blob stays where it is, and so does the image in a repository that nobody has spoken of.
    assert.match(await refused('vendor/drivers'), /vendor\/drivers \(restricted:nda\)/);
    assert.match(await refused('system/system', 'x', 'partners'), /partners does not admit system\/system <- vendor/);
    await server.post('/publish', { commit: 'system/system', channel: 'robot/stable' });
    assert.equal((await audited('release.declared')).length, 2);
    // What is declared no more is refused from then on.
    system.commit('Withdraw', { 'treeline.yaml': SYSTEM });
    await run('system');
    assert.match(await refused('system/system'), /system\/system <- vendor\/drivers/);
  });

  test('a label that is taken out of the file stays until somebody who may label takes it off', async (t) => {
    const { server, vendor, run, refused, audited } = await setUp(t);
    vendor.commit('Restrict', { 'treeline.yaml': `label: restricted:nda\n${VENDOR}` });
    await run('vendor');
    vendor.commit('Sneak', { 'treeline.yaml': `label: public\n${VENDOR}`, 'drivers/camera': 'blob 2' });
    const end = await run('vendor');
    assert.equal(end.publishes[0]?.state, 'failed');
    assert.match(await refused('system/system'), /vendor\/drivers \(restricted:nda\)/);
    const change = { project: 'vendor', label: 'restricted:nda', reason: 'the contract ended' };
    await server.post('/labels/remove', change);
    assert.deepEqual(
      (await audited('label.remove')).map(({ subject }) => subject),
      ['vendor'],
    );
    assert.equal((await server.call('POST', '/labels/remove', change)).status, 404);
    const publication = await server.post<Publication>('/publish', {
      items: [{ commit: 'system/system', channel: 'robot/edge' }],
    });
    assert.equal(publication.state, 'published');
  });

  test('what was made and cached before a label was set is found by it all the same', async (t) => {
    const { vendor, run, runAll, artifact, refused } = await setUp(t);
    assert.equal((await runAll()).state, 'passed');
    const before = await artifact('system', 'system');
    vendor.commit('Restrict', { 'treeline.yaml': `label: restricted:nda\n${VENDOR}` });
    const end = await run('vendor');
    assert.ok(end.jobs.every((job) => job.reused));
    assert.equal((await artifact('system', 'system')).commit, before.commit);
    assert.match(await refused(before.commit), /system\/system <- vendor\/drivers \(restricted:nda\)/);
  });

  test('a label on a commit counts for results that were reused from another commit of the same tree', async (t) => {
    const { server, vendor, run, runAll, info, refused, artifact } = await setUp(t);
    await runAll();
    const first = await artifact('vendor', 'drivers');
    // The job sees the same files, so the result is reused; its own provenance names the older revision.
    vendor.commit('Read me', { 'README.md': 'hello' });
    const end = await run('vendor');
    assert.equal((await artifact('vendor', 'drivers')).commit, first.commit);
    const source = end.manifest.find(({ project }) => project === 'vendor')!;
    assert.notEqual((await info(first.commit)).provenance?.sources[0]?.commit, source.commit);
    const { unadmitted } = await server.post<LabelAnswer>('/labels', {
      commit: source.commit,
      label: 'restricted:found out late',
      reason: 'letter of the vendor',
    });
    const way = ['system/system', 'vendor/drivers', `source of vendor at ${source.revision.slice(0, 10)}`];
    assert.deepEqual(
      unadmitted.map(({ channel, path }) => [channel, path]),
      [['robot/edge', way]],
    );
    assert.equal(
      await refused('system/system'),
      `public does not admit ${way.join(' <- ')} (restricted:found out late)`,
    );
  });

  test('a label of one output does not reach the others; a job’s inputs, image and sources all count', async (t) => {
    const { vendor, system, run, info } = await setUp(t);
    vendor.commit('Two', {
      'treeline.yaml': `
image: host
jobs:
  drivers:
    paths: [drivers/**]
    run: make
    outputs: { drivers: ., tools: tools, docs: docs }
    labels: { drivers: restricted:nda, tools: internal }
`,
    });
    system.commit('Use', {
      'treeline.yaml': `
jobs:
  report: { image: vendor/tools, inputs: { text: vendor/docs }, paths: [], run: make, outputs: [report] }
  image: { compose: [{ tree: report }, { source: config }], labels: { image: restricted:draft } }
`,
      'config/x': '1',
    });
    await run('vendor');
    await run('system');
    const ways = async (rev: string) =>
      (await info(rev)).labels.map(
        ({ label, path }) => `${path.map((name) => name.split(' at ')[0]).join(' <- ')}: ${label}`,
      );
    assert.deepEqual(await ways('vendor/docs'), ['vendor/docs <- source of vendor: public']);
    assert.deepEqual(await ways('system/report'), [
      'system/report <- vendor/tools: internal',
      'system/report <- vendor/tools <- source of vendor: public',
    ]);
    assert.deepEqual(await ways('system/image'), [
      'system/image: restricted:draft',
      'system/image <- source of system: public',
      'system/image <- system/report <- vendor/tools: internal',
      'system/image <- system/report <- vendor/tools <- source of vendor: public',
    ]);
  });
});

function sourceOf({ provenance }: CommitInfo, project: string): string {
  return provenance!.sources.find((source) => source.project === project)!.revision.slice(0, 10);
}
