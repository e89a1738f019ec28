import { type CommandJob, type Image, type Input, type Job, jobId, type Output } from '../model.ts';
import { readBoard } from './board.ts';
import { readComposition } from './compose.ts';
import { readEnvironment } from './environment.ts';
import { readLabels } from './label.ts';
import { readPattern, readRelativePath } from './path.ts';
import { readDuration, readSize } from './quantity.ts';
import { artifactFault, readArtifact, readImage, readJobs } from './reference.ts';
import { readRunsOn } from './runs-on.ts';
import {
  describe,
  type Entry,
  isName,
  nameFault,
  type Reader,
  readBoolean,
  readFields,
  readMap,
  readText,
  readTexts,
  shorten,
  type Value,
} from './value.ts';

/** What jobs get when they say nothing else. */
export type JobDefaults = { readonly image: Image; readonly environment: Readonly<Record<string, string>> };

const defaultTimeoutSeconds = 600;
const defaultDiskBytes = 10 * 1024 ** 3;

const commandKeys = [
  'run',
  'image',
  'runs-on',
  'paths',
  'needs',
  'inputs',
  'environment',
  'network',
  'root',
  'timeout',
  'disk',
  'outputs',
  'labels',
] as const;
const composeKeys = ['compose', 'needs', 'output', 'labels'] as const;
const boardKeys = ['board', 'system', 'over', 'faults', 'needs', 'timeout', 'output', 'labels'] as const;
const allKeys = [...new Set<string>([...commandKeys, ...composeKeys, ...boardKeys])];

type Fields = ReadonlyMap<string, Entry>;

/** Reads one entry of `jobs`. A faulty part is reported and has its default; undefined if nothing can be told. */
export function readJob(reader: Reader, entry: Entry, defaults: JobDefaults): Job | undefined {
  const { key: name, position, value } = entry;
  const where = `job "${shorten(name)}"`;
  const fault = nameFault('a job', name);
  if (fault) reader.fault(position, fault);
  if (value.kind === 'text') {
    const hint = `write ${isName(name) ? name : 'name'}: { run: … }`;
    reader.fault(value.position, { message: `${where} must be a map, not ${describe(value)}`, hint });
    return undefined;
  }
  const has = (name: string) => value.kind === 'map' && value.entries.some(({ key }) => key === name);
  const kind = has('compose') ? 'compose' : has('board') ? 'board' : 'run';
  const fields = readFields(reader, value, { where, known: allKeys });
  if (!fields || fault) return undefined;
  const head = { id: jobId(reader.project, name), project: reader.project, name, position };
  const needs = readJobs(reader, fields.get('needs')?.value, 'needs');
  if (kind !== 'run') reportForeign(reader, fields, { where, kind });
  const part =
    kind === 'compose'
      ? readComposition(reader, fields, { name, position, where })
      : kind === 'board'
        ? readBoard(reader, fields, { name, position, where })
        : readCommand(reader, fields, { entry, defaults, where });
  const field = fields.get('labels');
  const labels = field ? readLabels(reader, field.value, { outputs: part.outputs, where }) : {};
  return { ...head, needs, labels, ...part };
}

/** Keys that only another kind of job has. */
function reportForeign(
  reader: Reader,
  fields: Fields,
  { where, kind }: { where: string; kind: 'compose' | 'board' },
): void {
  const own: readonly string[] = kind === 'compose' ? composeKeys : boardKeys;
  for (const [key, { position }] of fields) {
    if (own.includes(key)) continue;
    const does = kind === 'compose' ? 'composes' : 'tries a system on a board';
    const message = `${where} ${does}, so it cannot have "${key}"`;
    const hint =
      key === 'outputs'
        ? `a ${kind} job has one output: write output: name`
        : kind === 'compose'
          ? 'the server composes without running anything: take it out, or make a second job that runs'
          : 'what is checked on the board are the health checks of the system: take it out, or make a second job that runs';
    reader.fault(position, { message, hint });
  }
}

type CommandPart = Omit<CommandJob, 'id' | 'project' | 'name' | 'position' | 'needs' | 'labels'>;

function readCommand(
  reader: Reader,
  fields: Fields,
  { entry, defaults, where }: { entry: Entry; defaults: JobDefaults; where: string },
): CommandPart {
  const get = <T>(key: (typeof commandKeys)[number], read: (value: Value) => T | undefined, fallback: T): T => {
    const field = fields.get(key);
    return (field && read(field.value)) ?? fallback;
  };
  for (const key of ['system', 'over', 'faults']) {
    const field = fields.get(key);
    const hint = 'a job that tries a system on a board has board: name';
    if (field) reader.fault(field.position, { message: `${where} runs, so it cannot have "${key}"`, hint });
  }
  const output = fields.get('output');
  if (output) {
    const hint = 'a job that runs has outputs: write outputs: { name: path }';
    reader.fault(output.position, { message: `${where} runs, so it cannot have "output"`, hint });
  }
  // An unknown key was most likely meant to be it.
  if (!fields.has('run') && entry.value.kind === 'map' && fields.size === entry.value.entries.length) {
    const hint = 'give it a script (run: |), a composition (compose:) or a board (board:)';
    reader.fault(entry.position, { message: `${where} does nothing`, hint });
  }
  return {
    kind: 'run',
    command: get('run', (value) => readScript(reader, value, where), ''),
    image: get('image', (value) => readImage(reader, value, 'image'), defaults.image),
    runsOn: get('runs-on', (value) => readRunsOn(reader, value), {
      arch: null,
      gpu: false,
      memoryBytes: null,
      labels: [],
    }),
    paths: get('paths', (value) => readPaths(reader, value), null),
    inputs: get('inputs', (value) => readInputs(reader, value), []),
    environment: get(
      'environment',
      (value) => readEnvironment(reader, value, defaults.environment),
      defaults.environment,
    ),
    network: get('network', (value) => readBoolean(reader, value, 'network'), false),
    root: get('root', (value) => readBoolean(reader, value, 'root'), false),
    timeoutSeconds: get('timeout', (value) => readDuration(reader, value, 'timeout'), defaultTimeoutSeconds),
    diskBytes: get('disk', (value) => readSize(reader, value, 'disk'), defaultDiskBytes),
    outputs: get('outputs', (value) => readOutputs(reader, value), []),
  };
}

function readScript(reader: Reader, value: Value, where: string): string | undefined {
  if (value.kind === 'list') {
    reader.fault(value.position, {
      message: 'run must be text, not a list',
      hint: 'write run: | and below it one command a line',
    });
    return undefined;
  }
  const script = readText(reader, value, { where: 'run', hint: 'write run: | and below it the commands' });
  if (script === undefined) return undefined;
  if (script.trim() === '')
    reader.fault(value.position, { message: `${where} has an empty script`, hint: 'write the commands to run' });
  if (script.includes('\0'))
    reader.fault(value.position, { message: 'run contains a NUL byte', hint: 'take it out: no shell can read it' });
  return script;
}

function readPaths(reader: Reader, value: Value): string[] {
  const texts = readTexts(reader, value, { where: 'paths', hint: 'write patterns: paths: [train.py, data/**]' });
  return texts.flatMap((text) => readPattern(reader, text, 'paths') ?? []);
}

function readInputs(reader: Reader, value: Value): Input[] {
  const map = readMap(reader, value, { where: 'inputs', hint: inputsHint(value) });
  return (map?.entries ?? []).flatMap(({ key, position, value }) => {
    const fault = nameFault('an input', key);
    if (fault) reader.fault(position, fault);
    const artifact = readArtifact(reader, value, `input "${shorten(key)}"`);
    return artifact && !fault ? [{ name: key, artifact }] : [];
  });
}

/** A list names no inputs, but often tells what is meant. */
function inputsHint(value: Value): string {
  const items = value.kind === 'list' ? value.items : [value];
  const texts = items.flatMap((item) => (item.kind === 'text' ? [item.text] : []));
  const pairs = texts
    .filter((text) => text.split('/').every(isName))
    .map((text) => `${text.split('/').at(-1)}: ${text}`);
  const example = pairs.length > 0 ? pairs.slice(0, 4).join(', ') : 'name: project/artifact';
  return `give each a name, under which it is found at /in: inputs: { ${example} }`;
}

function readOutputs(reader: Reader, value: Value): Output[] {
  if (value.kind === 'list') {
    const hint = 'write names: outputs: [model], or names and paths below /out: outputs: { model: model }';
    return readTexts(reader, value, { where: 'outputs', hint }).flatMap(({ text, position }) => {
      const fault = artifactFault(text);
      if (fault) reader.fault(position, fault);
      return fault ? [] : [{ name: text, path: text }];
    });
  }
  const example = value.kind === 'text' && isName(value.text) ? value.text : 'model';
  const hint = `write outputs: [${example}], or outputs: { ${example}: path below /out }`;
  const map = readMap(reader, value, { where: 'outputs', hint });
  return (map?.entries ?? []).flatMap(({ key, position, value }) => {
    const fault = artifactFault(key);
    if (fault) reader.fault(position, fault);
    const where = `output "${shorten(key)}"`;
    const text = readText(reader, value, { where, hint: 'write a path below /out, "." for all of it' });
    const path = text === undefined ? undefined : readRelativePath(reader, { text, position: value.position }, where);
    return path === undefined || fault ? [] : [{ name: key, path }];
  });
}
