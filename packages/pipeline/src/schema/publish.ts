import type { Publish } from '../model.ts';
import { readArtifact, readJobs } from './reference.ts';
import { describe, isName, nameFault, type Reader, readFields, readText, shorten, type Value } from './value.ts';

const defaultRepository = 'public';
const example = '{ artifact: system, channel: robot/edge }';

/** What is faulty is reported and has an empty name. */
export function readPublishes(reader: Reader, value: Value): Publish[] {
  if (value.kind !== 'list') {
    reader.fault(value.position, {
      message: `publish must be a list, not ${describe(value)}`,
      hint: `write publish: [${example}]`,
    });
    return [];
  }
  return value.items.flatMap((item) => readPublish(reader, item) ?? []);
}

function readPublish(reader: Reader, value: Value): Publish | undefined {
  const where = 'an entry of publish';
  const fields = readFields(reader, value, { where, known: ['artifact', 'channel', 'repository', 'after'] });
  if (!fields) return undefined;
  for (const key of ['artifact', 'channel']) {
    if (!fields.has(key))
      reader.fault(value.position, { message: `${where} has no "${key}"`, hint: `such as ${example}` });
  }
  const artifactField = fields.get('artifact');
  const artifact = artifactField && readArtifact(reader, artifactField.value, 'artifact');
  if (artifact && artifact.project !== reader.project) {
    reader.fault(artifact.position, {
      message: `"${artifact.project}/${artifact.artifact}" is an artifact of another project`,
      hint: `publish it in the file of "${artifact.project}", or compose it into an artifact of this one`,
    });
    return undefined;
  }
  const channelField = fields.get('channel');
  const channel = channelField && readChannel(reader, channelField.value);
  const repositoryField = fields.get('repository');
  const repository = repositoryField ? readRepository(reader, repositoryField.value) : defaultRepository;
  const after = readJobs(reader, fields.get('after')?.value, 'after');
  // What is faulty has been reported; the rest goes on to the check of references.
  const none = { project: reader.project, artifact: '', position: value.position };
  const checked = { artifact: artifact ?? none, channel: channel ?? '', repository: repository ?? '' };
  return { ...checked, after, position: value.position };
}

export function readChannel(reader: Reader, value: Value): string | undefined {
  const text = readText(reader, value, { where: 'channel', hint: 'write a ref, such as robot/edge' });
  if (text === undefined) return undefined;
  if (text.length <= 200 && text.split('/').every(isName)) return text;
  const better = text
    .split('/')
    .map((part) => part.replace(/[^A-Za-z0-9._-]+/g, '-').replace(/^[^A-Za-z0-9]+|-+$/g, ''))
    .filter((part) => part !== '')
    .join('/');
  const hint = better !== '' && better.length <= 200 ? `such as "${better}"` : 'such as "robot/edge"';
  reader.fault(value.position, { message: `"${shorten(text)}" cannot be a channel: it is no valid ref`, hint });
  return undefined;
}

export function readRepository(reader: Reader, value: Value): string | undefined {
  const text = readText(reader, value, { where: 'repository', hint: 'write a name, such as public' });
  const fault = text === undefined ? undefined : nameFault('a repository', text);
  if (fault) reader.fault(value.position, fault);
  return fault ? undefined : text;
}
