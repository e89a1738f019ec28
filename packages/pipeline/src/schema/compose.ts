import type { ComposeJob, Layer, Position } from '../model.ts';
import { readAbsolutePath, readRelativePath } from './path.ts';
import { artifactFault, readArtifact } from './reference.ts';
import { describe, type Entry, type Reader, readFields, readText, type Value } from './value.ts';

type ComposePart = Pick<ComposeJob, 'kind' | 'layers' | 'outputs' | 'paths'>;

const layerKeys = { tree: ['tree', 'from', 'at'], source: ['source', 'at'], remove: ['remove'] } as const;
const kinds = Object.keys(layerKeys) as (keyof typeof layerKeys)[];
const layerHint = 'a layer is { tree: artifact, from: /, at: / }, { source: folder, at: /place } or { remove: /path }';

export function readComposition(
  reader: Reader,
  fields: ReadonlyMap<string, Entry>,
  { name, position, where }: { name: string; position: Position; where: string },
): ComposePart {
  const value = fields.get('compose')!.value;
  const layers = readLayers(reader, value);
  if (value.kind === 'list' && value.items.length === 0) {
    reader.fault(value.position, { message: `${where} composes nothing`, hint: layerHint });
  }
  const first = value.kind === 'list' ? value.items[0] : undefined;
  if (first?.kind === 'map' && first.entries.some(({ key }) => key === 'remove')) {
    const hint = 'begin with a tree or a source';
    reader.fault(first.position, { message: 'the first layer removes, but nothing is there yet', hint });
  }
  const folders = layers.flatMap((layer) => (layer.kind === 'source' ? [layer.folder] : []));
  return {
    kind: 'compose',
    layers,
    outputs: [{ name: readOutput(reader, fields.get('output'), { name, position }), path: '.' }],
    paths: folders.includes('.') ? null : [...new Set(folders)].map((folder) => `${folder}/**`),
  };
}

/** The job's own name unless it says otherwise. */
function readOutput(
  reader: Reader,
  entry: Entry | undefined,
  { name, position }: { name: string; position: Position },
): string {
  const hint = 'a compose job has one output: output: system';
  const text = entry ? readText(reader, entry.value, { where: 'output', hint }) : name;
  const fault = text === undefined ? undefined : artifactFault(text);
  if (fault) reader.fault(entry?.value.position ?? position, fault);
  return text === undefined || fault ? name : text;
}

function readLayers(reader: Reader, value: Value): Layer[] {
  if (value.kind !== 'list') {
    reader.fault(value.position, { message: `compose must be a list, not ${describe(value)}`, hint: layerHint });
    return [];
  }
  return value.items.flatMap((item) => readLayer(reader, item) ?? []);
}

function readLayer(reader: Reader, value: Value): Layer | undefined {
  const keys = value.kind === 'map' ? value.entries.map(({ key }) => key) : [];
  const [kind, second] = kinds.filter((kind) => keys.includes(kind));
  if (kind === undefined || second !== undefined) {
    if (value.kind === 'map')
      readFields(reader, value, { where: 'a layer', known: ['tree', 'source', 'remove', 'from', 'at'] });
    const message = second
      ? `a layer cannot have both "${kind}" and "${second}"`
      : 'a layer needs "tree", "source" or "remove"';
    const hint = second ? 'make two layers of it' : layerHint;
    reader.fault(
      value.position,
      value.kind === 'map' ? { message, hint } : { message: `${describe(value)} is no layer`, hint },
    );
    return undefined;
  }
  const fields = readFields(reader, value, { where: `a layer with "${kind}"`, known: layerKeys[kind] });
  const absolute = (key: string): string | undefined => {
    const field = fields?.get(key)?.value;
    if (!field) return '/';
    const text = readText(reader, field, { where: key, hint: 'write a path such as /usr/share' });
    return text === undefined ? undefined : readAbsolutePath(reader, { text, position: field.position }, key);
  };
  const main = fields?.get(kind)?.value;
  if (!main) return undefined;
  if (kind === 'remove') {
    const path = absolute('remove');
    if (path === '/') {
      reader.fault(main.position, {
        message: 'remove: "/" would leave nothing',
        hint: 'name what is to go, such as /usr/share/doc',
      });
    }
    return path === undefined ? undefined : { kind, path };
  }
  const at = absolute('at');
  if (kind === 'tree') {
    const artifact = readArtifact(reader, main, 'tree');
    const from = absolute('from');
    return artifact && { kind, artifact, from: from ?? '/', at: at ?? '/' };
  }
  const folder = readFolder(reader, main);
  return folder === undefined ? undefined : { kind, folder, at: at ?? '/' };
}

function readFolder(reader: Reader, value: Value): string | undefined {
  const text = readText(reader, value, {
    where: 'source',
    hint: 'write a folder of this repository, "." for all of it',
  });
  if (text === undefined) return undefined;
  if (/[*?]/.test(text)) {
    reader.fault(value.position, {
      message: 'source is one folder, not a pattern',
      hint: 'write one layer for each folder',
    });
    return undefined;
  }
  return readRelativePath(reader, { text, position: value.position }, 'source');
}
