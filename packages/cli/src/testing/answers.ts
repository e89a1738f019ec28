import {
  type CommitInfo,
  type Device,
  type Diff,
  type Job,
  type Project,
  type Publication,
  type Release,
  type Repository,
  RepositorySettings,
  type RunDetail,
  type Source,
} from '@treeline/server';

/** Answers of the API as the server gives them, for tests that want to see how they are shown. */

const checksum = (digit: string) => digit.repeat(64);
export const oldCommit = checksum('a');
export const newCommit = checksum('b');
const tree = { contents: checksum('c'), meta: checksum('d') };
const time = '2026-11-01T12:00:00.000Z';

const source: Source = {
  project: 'app',
  url: 'https://example.org/app.git',
  revision: '1234567890abcdef1234567890abcdef12345678',
  subject: 'Steer with more care',
  commit: checksum('e'),
};

export const project: Project = {
  name: 'app',
  url: source.url,
  branch: 'main',
  head: { revision: source.revision, subject: source.subject, commit: source.commit },
  error: null,
  fetchedAt: time,
  createdAt: time,
};

export function job(id: string, changes: Partial<Job> = {}): Job {
  const [projectName = '', name = ''] = id.split('/');
  return {
    id,
    project: projectName,
    name,
    kind: 'command',
    state: 'passed',
    reused: false,
    key: checksum('f'),
    why: [],
    blockedOn: [],
    waits: null,
    executionId: `x-${name}`,
    runner: 'bench',
    emulated: [],
    failure: null,
    outputs: [],
    log: `/api/v1/executions/x-${name}/log`,
    startedAt: time,
    finishedAt: time,
    durationMs: 1500,
    ...changes,
  };
}

export function run(changes: Partial<RunDetail> = {}): RunDetail {
  return {
    id: 'run-3',
    number: 3,
    state: 'passed',
    reason: 'push to app',
    trigger: null,
    error: null,
    counts: { total: 2, reused: 1, states: { passed: 2 } },
    createdAt: time,
    finishedAt: time,
    durationMs: 4000,
    manifest: [source],
    jobs: [
      job('app/package', { why: [{ field: 'source', before: null, after: null, message: 'the source changed' }] }),
      job('model/train', { reused: true, durationMs: 0 }),
    ],
    publishes: [
      {
        project: 'system',
        artifact: 'system',
        repository: 'public',
        channel: 'robot/edge',
        state: 'published',
        commit: newCommit,
        releaseId: 'release-2',
        message: null,
      },
    ],
    ...changes,
  };
}

export function release(number: number, changes: Partial<Release> = {}): Release {
  return {
    id: `release-${number}`,
    number,
    repository: 'public',
    channel: 'robot/edge',
    commit: number === 1 ? oldCommit : newCommit,
    previous: number === 1 ? null : oldCommit,
    state: 'published',
    artifact: 'system/system',
    runId: 'run-3',
    reason: 'run 3',
    message: null,
    current: number !== 1,
    publication: number,
    step: null,
    progress: null,
    by: null,
    pinned: null,
    droppedAt: null,
    createdAt: time,
    publishedAt: time,
    ...changes,
  };
}

export function publication(releases: Release[], changes: Partial<Publication> = {}): Publication {
  const { number, repository, state, message, reason, by, runId } = releases[0]!;
  return {
    ...{ number, repository, state, message, reason, by, runId, releases },
    step: null,
    progress: null,
    madeRepository: false,
    signatures: [{ commit: newCommit, key: 'ed25519:release' }],
    deltas: [{ from: oldCommit, to: newCommit, state: 'made', bytes: 4096, message: null }],
    labels: [{ commit: newCommit, label: 'internal', path: ['system/system', 'source of app at 1234567890'] }],
    declared: [
      {
        release: releases[0]!.id,
        channel: releases[0]!.channel,
        project: 'system',
        artifact: 'system',
        because: 'the licence allows it',
        revision: source.revision,
        file: 'treeline.yaml',
        line: 12,
        passed: [{ label: 'restricted:nda', path: ['system/system', 'vendor/drivers'] }],
      },
    ],
    createdAt: time,
    finishedAt: time,
    ...changes,
  };
}

export const repository: Repository = {
  name: 'public',
  settings: RepositorySettings.parse({ access: 'public', signing: [{ type: 'ed25519', file: 'release' }] }),
  path: '/repos/public/',
  publicKeys: [{ key: 'ed25519:release', publicKey: 'PUBLIC' }],
  channels: [{ channel: 'robot/edge', commit: newCommit, publishedAt: time }],
  refreshing: false,
  createdAt: time,
};

export const commit: CommitInfo = {
  commit: newCommit,
  tree,
  parent: null,
  subject: 'system/system',
  body: '',
  createdAt: time,
  kind: 'artifact',
  provenance: {
    project: 'system',
    job: 'compose',
    artifact: 'system',
    key: checksum('f'),
    run: 'run-3',
    inputs: [{ name: 'app/package', commit: checksum('9') }],
    sources: [source],
  },
  source: null,
  builtIn: null,
  channels: ['public:robot/edge'],
  labels: [
    {
      label: 'restricted:nda',
      on: 'artifact',
      path: ['system/system', 'vendor/drivers'],
      commit: checksum('9'),
      project: 'vendor',
      by: null,
      reason: 'treeline.yaml',
      at: time,
    },
  ],
};

export const diff: Diff = {
  from: oldCommit,
  to: newCommit,
  changes: [
    {
      kind: 'modified',
      path: '/usr/lib/model',
      differs: ['content'],
      download: 1500,
      before: { type: 'file', size: 1200 },
      after: { type: 'file', size: 3400 },
    },
    {
      kind: 'modified',
      path: '/usr/bin/ping',
      differs: ['mode', 'owner', 'xattrs'],
      download: 700,
      before: { type: 'file', size: 640, mode: 0o100755, uid: 0, gid: 0 },
      after: {
        type: 'file',
        size: 640,
        mode: 0o104755,
        uid: 0,
        gid: 27,
        xattrs: [{ name: 'security.capability', value: 'AQAAAg==' }],
      },
    },
    {
      kind: 'added',
      path: '/usr/bin/steer',
      differs: [],
      download: 300,
      after: { type: 'file', size: 512, mode: 0o100755 },
    },
    {
      kind: 'removed',
      path: '/etc/old',
      differs: [],
      download: 0,
      before: { type: 'symlink', target: 'new' },
    },
  ],
  download: { objects: 4, bytes: 5000, totalObjects: 900, totalBytes: 9_000_000 },
};

export function device(id: string, changes: Partial<Device> = {}): Device {
  return {
    id,
    accepted: true,
    channel: 'robot/edge',
    repository: 'public',
    hardwareId: null,
    state: 'good',
    reason: null,
    release: newCommit,
    rolledBackFrom: null,
    current: newCommit,
    target: newCommit,
    badReleases: [],
    lastSeen: new Date().toISOString(),
    silentSince: null,
    address: '192.0.2.7',
    fetchedFrom: null,
    details: {},
    pointer: null,
    createdAt: time,
    provenance: commit.provenance,
    ...changes,
  };
}
