import { describe, type Reader, type Value } from './value.ts';

const seconds = { s: 1, m: 60, h: 3600 } as const;
const bytes = { K: 1024, M: 1024 ** 2, G: 1024 ** 3 } as const;

/** A week: what takes longer is forgotten rather than meant. */
const longestSeconds = 7 * 24 * 3600;

/** `90s`, `5m`, `1h` as seconds. */
export function readDuration(reader: Reader, value: Value, where: string): number | undefined {
  const text = 'text' in value ? value.text : '';
  const match = /^(\d{1,9})([smh])$/.exec(text);
  if (!match) {
    const better = correctDuration(text.trim());
    const hint = better ? `write ${better}` : 'write a whole number and s, m or h, such as 90s, 5m or 1h';
    reader.fault(value.position, { message: `${where} must be a duration, not ${describe(value)}`, hint });
    return undefined;
  }
  const result = Number(match[1]) * seconds[match[2] as keyof typeof seconds];
  if (result === 0 || result > longestSeconds) {
    reader.fault(value.position, { message: `${where} cannot be ${text}`, hint: 'use something from 1s to 168h' });
    return undefined;
  }
  return result;
}

/** `512K`, `200M`, `2G` as bytes; powers of 1024. */
export function readSize(reader: Reader, value: Value, where: string): number | undefined {
  const text = 'text' in value ? value.text : '';
  const match = /^(\d{1,9})([KMG])$/.exec(text);
  if (!match) {
    const better = correctSize(text.trim());
    const hint = better ? `write ${better}` : 'write a whole number and K, M or G, such as 200M or 2G';
    reader.fault(value.position, { message: `${where} must be a size, not ${describe(value)}`, hint });
    return undefined;
  }
  const result = Number(match[1]) * bytes[match[2] as keyof typeof bytes];
  if (result === 0 || !Number.isSafeInteger(result)) {
    reader.fault(value.position, { message: `${where} cannot be ${text}`, hint: 'use something from 1K to 999999G' });
    return undefined;
  }
  return result;
}

/** The right form of what people write: `5 min`, `1h30m`, `300`. */
function correctDuration(text: string): string | undefined {
  let total = 0;
  const rest = text
    .toLowerCase()
    .replace(
      /(\d{1,6}(?:\.\d{1,3})?) ?(hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s|days?|d)? ?/g,
      (_, number: string, unit = 's') => {
        total += Number(number) * (unit[0] === 'd' ? 24 * 3600 : seconds[unit[0] as keyof typeof seconds]);
        return '';
      },
    );
  if (rest !== '' || total === 0 || !Number.isInteger(total) || total > longestSeconds) return undefined;
  if (total % 3600 === 0) return `${total / 3600}h`;
  return total % 60 === 0 ? `${total / 60}m` : `${total}s`;
}

/** The right form of what people write: `2GB`, `2 GiB`, `1.5g`, `1T`. */
function correctSize(text: string): string | undefined {
  const match = /^(\d{1,6}(?:\.\d{1,3})?) ?([kmgt])(i?b|b(?:ytes?)?)?$/i.exec(text);
  if (!match) {
    if (!/^\d{1,12}$/.test(text) || Number(text) === 0) return undefined;
    return `${Math.max(1, Math.round(Number(text) / bytes.M))}M for ${text} bytes`;
  }
  const units = ['K', 'M', 'G', 'T'];
  const unit = units.indexOf(match[2]!.toUpperCase());
  const number = Number(match[1]);
  if (number === 0) return undefined;
  if (unit === 3) return `${Math.round(number * 1024)}G`;
  if (Number.isInteger(number)) return `${number}${units[unit]}`;
  return unit === 0 ? undefined : `${Math.round(number * 1024)}${units[unit - 1]}`;
}
