import type { RunsOn } from '../model.ts';
import { readSize } from './quantity.ts';
import {
  meant,
  nameFault,
  type Reader,
  readBoolean,
  readFields,
  readText,
  readTexts,
  shorten,
  type Value,
} from './value.ts';

/** As `uname -m` says them. */
const architectures = ['x86_64', 'aarch64', 'armv7l', 'i686', 'loongarch64', 'ppc64le', 'riscv64', 's390x'];

/** What other tools call the same. */
const otherNames: Readonly<Record<string, string>> = {
  amd64: 'x86_64',
  x64: 'x86_64',
  'x86-64': 'x86_64',
  arm64: 'aarch64',
  armv8: 'aarch64',
  arm: 'armv7l',
  armhf: 'armv7l',
  armv7: 'armv7l',
  i386: 'i686',
  x86: 'i686',
};

export function readRunsOn(reader: Reader, value: Value): RunsOn | undefined {
  if (value.kind === 'text' || value.kind === 'list') {
    const label = value.kind === 'text' ? value.text : '…';
    const arch = value.kind === 'text' ? architectureOf(value.text) : undefined;
    const hint = arch ? `write runs-on: { arch: ${arch} }` : `write runs-on: { labels: [${shorten(label)}] }`;
    reader.fault(value.position, {
      message: `runs-on must be a map, not ${value.kind === 'list' ? 'a list' : `"${shorten(label)}"`}`,
      hint,
    });
    return undefined;
  }
  const fields = readFields(reader, value, { where: 'runs-on', known: ['arch', 'gpu', 'memory', 'labels'] });
  if (!fields) return undefined;
  const get = (key: string) => fields.get(key)?.value;
  const [arch, gpu, memory, labels] = [get('arch'), get('gpu'), get('memory'), get('labels')];
  return {
    arch: (arch && readArchitecture(reader, arch)) ?? null,
    gpu: (gpu && readBoolean(reader, gpu, 'gpu')) ?? false,
    memoryBytes: (memory && readSize(reader, memory, 'memory')) ?? null,
    labels: labels ? readLabels(reader, labels) : [],
  };
}

function readArchitecture(reader: Reader, value: Value): string | undefined {
  const text = readText(reader, value, { where: 'arch', hint: `write one of: ${architectures.join(', ')}` });
  if (text === undefined || architectures.includes(text)) return text;
  const known = architectureOf(text);
  const hint = known ? `write ${known}` : (meant(text, architectures) ?? `known: ${architectures.join(', ')}`);
  reader.fault(value.position, { message: `unknown architecture "${shorten(text)}"`, hint });
  return undefined;
}

function architectureOf(text: string): string | undefined {
  const name = text.toLowerCase();
  if (Object.hasOwn(otherNames, name)) return otherNames[name];
  return architectures.find((architecture) => architecture === name);
}

function readLabels(reader: Reader, value: Value): string[] {
  const texts = readTexts(reader, value, { where: 'labels', hint: 'write names: labels: [fast]' });
  const labels = texts.flatMap(({ text, position }) => {
    const arch = architectureOf(text);
    // A runner's list of what it emulates has architectures, gpu and labels side by side.
    if (arch || text === 'gpu') {
      const hint = `write runs-on: { ${arch ? `arch: ${arch}` : 'gpu: true'} }`;
      reader.fault(position, { message: `"${text}" cannot be a label`, hint });
      return [];
    }
    const fault = nameFault('a label', text);
    if (fault) reader.fault(position, fault);
    return fault ? [] : [text];
  });
  return [...new Set(labels)].sort();
}
