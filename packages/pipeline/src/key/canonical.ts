import { PipelineError } from '../diagnostic/diagnostic.ts';

/**
 * JSON with one form per value, as RFC 8785 has it: keys sorted by UTF-16 code units, no white space. Two values
 * have the same text exactly if they are the same data, whatever the order of their keys.
 * Errors: `invalid-key` for what JSON would drop or change without a word (undefined, NaN, functions, class instances).
 */
export function canonicalJson(value: unknown): string {
  return write(value, '$');
}

function write(value: unknown, where: string): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${Array.from(value, (item, i) => write(item, `${where}[${i}]`)).join(',')}]`;
  if (isRecord(value)) {
    const members = Object.keys(value)
      .sort()
      .map((key) => `${JSON.stringify(key)}:${write(value[key], `${where}.${key}`)}`);
    return `{${members.join(',')}}`;
  }
  throw new PipelineError('invalid-key', `${where} cannot be part of a key: ${kindOf(value)} has no canonical form`, {
    hint: 'use null, booleans, finite numbers, strings, arrays and plain objects',
  });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function kindOf(value: unknown): string {
  if (typeof value === 'number') return String(value);
  return typeof value === 'object' ? `a ${value?.constructor?.name ?? 'object'}` : typeof value;
}
