import type { ReleaseDeclaration } from '../model.ts';
import { readRepository } from './publish.ts';
import { readArtifact } from './reference.ts';
import { describe, type Reader, readFields, readText, type Value } from './value.ts';

const example = '{ artifact: system, repository: public, because: "the licence allows it inside an image" }';

/** What is faulty is reported and left out. */
export function readReleases(reader: Reader, value: Value): ReleaseDeclaration[] {
  if (value.kind !== 'list') {
    reader.fault(value.position, {
      message: `releases must be a list, not ${describe(value)}`,
      hint: `write releases: [${example}]`,
    });
    return [];
  }
  return value.items.flatMap((item) => readDeclaration(reader, item) ?? []);
}

function readDeclaration(reader: Reader, value: Value): ReleaseDeclaration | undefined {
  const where = 'an entry of releases';
  const fields = readFields(reader, value, { where, known: ['artifact', 'repository', 'because'] });
  if (!fields) return undefined;
  for (const key of ['artifact', 'repository', 'because']) {
    if (!fields.has(key))
      reader.fault(value.position, { message: `${where} has no "${key}"`, hint: `such as ${example}` });
  }
  const artifactField = fields.get('artifact');
  const artifact = artifactField && readArtifact(reader, artifactField.value, 'artifact');
  const repositoryField = fields.get('repository');
  const repository = repositoryField && readRepository(reader, repositoryField.value);
  const becauseField = fields.get('because');
  const because = becauseField && readText(reader, becauseField.value, { where: 'because', hint: 'say why' });
  if (becauseField && because?.trim() === '') {
    reader.fault(becauseField.value.position, {
      message: 'because is empty',
      hint: 'say why it may be released: whoever looks at the audit log reads it',
    });
    return undefined;
  }
  if (!artifact || repository === undefined || because === undefined) return undefined;
  if (artifact.project !== reader.project) {
    reader.fault(artifact.position, {
      message: `"${artifact.project}/${artifact.artifact}" is an artifact of another project`,
      hint: `only "${artifact.project}" can declare in its own file that it may be released`,
    });
    return undefined;
  }
  return { artifact, repository, because: because.trim(), position: value.position };
}
