import { describe, type Reader, readMap, shorten, type Value } from './value.ts';

const variable = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Names and values; numbers and booleans are taken as they are written. `defaults` hold for names not given. */
export function readEnvironment(
  reader: Reader,
  value: Value,
  defaults: Readonly<Record<string, string>> = {},
): Record<string, string> | undefined {
  const map = readMap(reader, value, { where: 'environment', hint: 'write environment: { NAME: value }' });
  if (!map) return undefined;
  const pairs = map.entries.flatMap(({ key, position, value }): [string, string][] => {
    const fault = variableFault(key);
    if (fault) reader.fault(position, fault);
    const text = readVariable(reader, value, key);
    return fault || text === undefined ? [] : [[key, text]];
  });
  return Object.fromEntries([...Object.entries(defaults), ...pairs]);
}

function readVariable(reader: Reader, value: Value, name: string): string | undefined {
  const where = `environment variable "${shorten(name)}"`;
  if (!('text' in value) || value.kind === 'nothing') {
    const hint =
      value.kind === 'nothing'
        ? `for an empty one write ${shorten(name)}: ""`
        : 'write text; put what is more into a file';
    reader.fault(value.position, { message: `${where} must be text, not ${describe(value)}`, hint });
    return undefined;
  }
  if (!value.text.includes('\0')) return value.text;
  reader.fault(value.position, {
    message: `${where} contains a NUL byte`,
    hint: 'take it out: no environment can hold it',
  });
  return undefined;
}

function variableFault(name: string): { message: string; hint: string } | undefined {
  if (name === 'OUT' || name.startsWith('TREELINE_') || name === '__proto__') {
    return {
      message: `environment variable "${name}" is not yours to set`,
      hint: 'Treeline sets it itself: use another name',
    };
  }
  if (variable.test(name) && name.length <= 200) return undefined;
  const message = `"${shorten(name)}" cannot be the name of an environment variable`;
  return { message, hint: 'use letters, digits and "_", not beginning with a digit' };
}
