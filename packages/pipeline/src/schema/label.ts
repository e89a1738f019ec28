import { isLabel, type Label, labelForm } from '../label/label.ts';
import type { Output } from '../model.ts';
import { meant, type Reader, readMap, readText, shorten, type Value } from './value.ts';

export function readLabel(reader: Reader, value: Value, where: string): Label | undefined {
  const text = readText(reader, value, { where, hint: `write ${labelForm}` });
  if (text === undefined || isLabel(text)) return text;
  const hint = text.startsWith('restricted')
    ? 'say why, without a comma: restricted:nda'
    : (meant(text, ['public', 'internal']) ?? `write ${labelForm}`);
  reader.fault(value.position, { message: `${where}: "${shorten(text)}" is no label`, hint });
  return undefined;
}

/** Labels of a job's outputs, by output. */
export function readLabels(
  reader: Reader,
  value: Value,
  { outputs, where }: { outputs: readonly Output[]; where: string },
): Record<string, Label> {
  const names = outputs.map(({ name }) => name);
  const example = names[0] ?? 'model';
  const hint = `write labels: { ${example}: internal }`;
  const map = readMap(reader, value, { where: 'labels', hint });
  const labels: Record<string, Label> = {};
  for (const entry of map?.entries ?? []) {
    if (!names.includes(entry.key)) {
      const known = names.length > 0 ? `its outputs: ${names.slice(0, 12).join(', ')}` : 'it has no outputs';
      const message = `labels: ${where} has no output "${shorten(entry.key)}"`;
      reader.fault(entry.position, { message, hint: meant(entry.key, names) ?? known });
      continue;
    }
    const label = readLabel(reader, entry.value, `the label of "${entry.key}"`);
    if (label !== undefined) labels[entry.key] = label;
  }
  return labels;
}
