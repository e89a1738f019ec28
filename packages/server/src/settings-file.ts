import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, ServerError } from './errors.ts';
import type { SettingsFragment } from './settings.ts';

/** Name of the settings file of a data folder. */
const FILE = 'settings.json';

/**
 * Fragment of `settings.json` in the data folder, a JSON object with the names of `settings.ts`; nothing where there is no
 * such file. Its values are checked with all others by `loadSettings`.
 *
 * @throws ServerError `settings-invalid` naming the file
 */
export function settingsFromFile(dataDir: string): SettingsFragment {
  const path = join(dataDir, FILE);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw invalid(`${path} cannot be read: ${messageOf(error)}`, error);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(`${path} is no JSON: ${messageOf(error)}`, error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(`${path} is to hold a JSON object, such as {"unusedDays": 90}`);
  }
  if ('dataDir' in value) throw invalid(`${path} cannot set dataDir: it is found there`);
  return value;
}

function invalid(message: string, cause?: unknown): ServerError {
  return new ServerError('settings-invalid', message, { cause });
}
