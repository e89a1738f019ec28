import { OstreeError } from '../errors.ts';
import { isRefName } from '../repo/refs.ts';

/**
 * Makes a test of names of refs: `*` stands for anything within a part, `**` for any number of parts.
 *
 * @throws OstreeError `invalid` for a pattern that no ref can match
 */
export function refPattern(pattern: string): (name: string) => boolean {
  const example = pattern.replaceAll('*', 'x');
  if (!isRefName(example)) {
    throw new OstreeError('invalid', `${pattern}: no ref can have such a name`, {
      hint: 'A pattern is the name of a ref in which * stands for anything but a slash, and ** for that as well.',
    });
  }
  const source = pattern
    .split(/(\*\*|\*)/)
    .map((part) => (part === '**' ? '.*' : part === '*' ? '[^/]*' : part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')))
    .join('');
  const expression = new RegExp(`^${source}$`, 'u');
  return (name) => expression.test(name);
}

/** Whether a text names one ref rather than a pattern of some. */
export function isOneRef(pattern: string): boolean {
  return !pattern.includes('*');
}
