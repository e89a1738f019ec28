import type { ArtifactReference, BoardFault, BoardJob, ChannelReference, Position } from '../model.ts';
import { readRelativePath } from './path.ts';
import { readChannel, readRepository } from './publish.ts';
import { readDuration } from './quantity.ts';
import { artifactFault, readArtifact } from './reference.ts';
import {
  describe,
  type Entry,
  meant,
  nameFault,
  type Reader,
  readText,
  readTexts,
  shorten,
  type Value,
} from './value.ts';

/** `over` is null where the file does not say it: `publish` may. */
type BoardPart = Omit<BoardJob, 'id' | 'project' | 'name' | 'position' | 'needs' | 'labels'>;

type Fields = ReadonlyMap<string, Entry>;

const faultNames: readonly BoardFault[] = ['full-disk', 'network-loss', 'power-cut'];

/** An image is made, and a system boots several times. */
const defaultTimeoutSeconds = 20 * 60;

export function readBoard(
  reader: Reader,
  fields: Fields,
  { name, position, where }: { name: string; position: Position; where: string },
): BoardPart {
  const board = readBoardName(reader, fields.get('board')!.value);
  return {
    kind: 'board',
    board,
    system: readSystem(reader, fields, { position, where }),
    over: readOver(reader, fields.get('over')),
    faults: readFaults(reader, fields.get('faults')),
    timeoutSeconds: readTimeout(reader, fields.get('timeout')),
    outputs: [{ name: readOutput(reader, fields.get('output'), `${name}-report`), path: '.' }],
    paths: 'file' in board ? [board.file] : [],
  };
}

/** The channel that a file publishes an artifact to first; what a board job is tried over if it does not say. */
export function publishedTo(
  artifact: ArtifactReference,
  publishes: readonly { artifact: ArtifactReference; repository: string; channel: string }[],
): ChannelReference | null {
  const found = publishes.find(
    (one) => one.artifact.project === artifact.project && one.artifact.artifact === artifact.artifact,
  );
  return found ? { repository: found.repository, channel: found.channel } : null;
}

/** A name, or a path in the repository: with a slash, or as YAML files are called. */
function readBoardName(reader: Reader, value: Value): BoardJob['board'] {
  const hint = 'write the name of a board, such as qemu-x86_64, or the path of a board file: boards/rig.yaml';
  const text = readText(reader, value, { where: 'board', hint });
  if (text === undefined) return { name: '' };
  if (text.includes('/') || /\.ya?ml$/.test(text)) {
    const file = readRelativePath(reader, { text, position: value.position }, 'board');
    if (file !== undefined && /[*?[\]{}]/.test(file)) {
      reader.fault(value.position, { message: `board: "${shorten(text)}" is a pattern, not a file`, hint });
    }
    return { file: file ?? '' };
  }
  const fault = nameFault('a board', text);
  if (fault) reader.fault(value.position, fault);
  return { name: text };
}

function readSystem(
  reader: Reader,
  fields: Fields,
  { position, where }: { position: Position; where: string },
): ArtifactReference {
  const field = fields.get('system');
  const none = { project: reader.project, artifact: '', position };
  if (field) return readArtifact(reader, field.value, 'system') ?? none;
  reader.fault(position, { message: `${where} has no "system"`, hint: 'name the artifact to try: system: system' });
  return none;
}

function readOver(reader: Reader, field: Entry | undefined): ChannelReference | null {
  if (!field) return null;
  const { value } = field;
  if (value.kind !== 'text' || !value.text.includes(':')) {
    const channel = readChannel(reader, value);
    return channel === undefined ? null : { repository: 'public', channel };
  }
  const [repositoryText = '', ...rest] = value.text.split(':');
  const part = (text: string): Value => ({ kind: 'text', text, position: value.position });
  const repository = readRepository(reader, part(repositoryText));
  const channel = readChannel(reader, part(rest.join(':')));
  return repository === undefined || channel === undefined ? null : { repository, channel };
}

function readFaults(reader: Reader, field: Entry | undefined): BoardFault[] {
  if (!field) return [];
  const hint = `write faults: [${faultNames.join(', ')}], or some of them`;
  const found = new Set<BoardFault>();
  for (const { text, position } of readTexts(reader, field.value, { where: 'faults', hint })) {
    const fault = faultNames.find((name) => name === text);
    if (fault) found.add(fault);
    else
      reader.fault(position, {
        message: `there is no fault "${shorten(text)}"`,
        hint: meant(text, faultNames) ?? hint,
      });
  }
  return [...found].sort();
}

function readTimeout(reader: Reader, field: Entry | undefined): number {
  return (field && readDuration(reader, field.value, 'timeout')) ?? defaultTimeoutSeconds;
}

function readOutput(reader: Reader, field: Entry | undefined, fallback: string): string {
  if (!field) return fallback;
  const hint = 'write a name for the report, such as output: board-report';
  if (field.value.kind !== 'text') {
    reader.fault(field.value.position, { message: `output must be a name, not ${describe(field.value)}`, hint });
    return fallback;
  }
  const fault = artifactFault(field.value.text);
  if (fault) reader.fault(field.value.position, fault);
  return field.value.text;
}
