import { nearest } from '../diagnostic/nearest.ts';

/** Keys that other tools use for the same. */
const synonyms: Readonly<Record<string, readonly string[]>> = {
  after: ['dependson', 'needs', 'when'],
  artifact: ['output', 'name'],
  board: ['device', 'hardware', 'target'],
  channel: ['ref', 'branch'],
  faults: ['fault', 'chaos'],
  compose: ['layers', 'combine', 'merge'],
  environment: ['env', 'variables', 'vars'],
  image: ['container', 'docker'],
  inputs: ['dependencies', 'uses', 'with', 'in'],
  jobs: ['stages', 'tasks', 'pipeline'],
  label: ['labels', 'visibility', 'access'],
  labels: ['tags', 'label'],
  memory: ['mem', 'ram'],
  needs: ['dependson', 'requires', 'after'],
  output: ['outputs'],
  outputs: ['artifacts', 'output', 'produces', 'out'],
  paths: ['files', 'only', 'changes', 'sources'],
  publish: ['release', 'deploy'],
  remove: ['delete', 'rm', 'exclude'],
  repository: ['repo'],
  root: ['privileged', 'sudo', 'fakeroot', 'user'],
  run: ['script', 'command', 'commands', 'cmd', 'steps', 'exec'],
  'runs-on': ['runner', 'platform', 'resources', 'requires'],
  over: ['base', 'from', 'production'],
  source: ['folder', 'files'],
  system: ['artifact', 'image', 'candidate'],
  timeout: ['timeoutminutes', 'timelimit', 'deadline'],
  tree: ['artifact', 'layer', 'base'],
  at: ['to', 'dest', 'destination', 'target'],
};

/** Which of the known keys is meant by an unknown one. */
export function nameKey(key: string, known: readonly string[]): string {
  if (key === '<<') return 'merge keys are not read; a default for all jobs goes to the top of the file';
  const plain = key.toLowerCase().replace(/[-_ ]/g, '');
  const synonym = known.find((name) => name.replace('-', '') === plain || synonyms[name]?.includes(plain));
  const candidate = synonym ?? nearest(key, known);
  return candidate ? `did you mean "${candidate}"?` : `known keys: ${known.join(', ')}`;
}
