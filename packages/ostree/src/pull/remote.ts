import { OstreeError } from '../errors.ts';
import { parseKeyFile } from '../formats/keyfile.ts';
import { type Checksum, isChecksum } from '../formats/object-name.ts';
import { decodeSummary } from '../formats/summary.ts';
import { MAX_METADATA_BYTES } from '../repo/objects.ts';
import { isRefName } from '../repo/refs.ts';
import { ACCESS_HINT, type HttpSource } from './http.ts';

/** A config, and a ref's file, are a few lines. */
const MAX_CONFIG_BYTES = 1024 * 1024;
const MAX_REF_BYTES = 1024;

/**
 * Checks that what answers is an archive repository, as far as it says. A missing config is tolerated: static
 * hosting of objects and refs alone is enough to pull from.
 *
 * @returns whether there is a config
 * @throws OstreeError `unsupported` for a repository of another mode, `network` for something that is none
 */
export async function assertArchive(source: HttpSource): Promise<boolean> {
  const text = await source.bytes('config', MAX_CONFIG_BYTES);
  if (!text) return false;
  let mode: string | undefined;
  try {
    mode = parseKeyFile(text.toString('utf8'), `${source.base}config`).get('core')?.get('mode');
  } catch (cause) {
    throw notARepository(source, 'its config is not a key file', cause);
  }
  if (mode === undefined || mode === 'archive' || mode === 'archive-z2') return true;
  throw new OstreeError(
    'unsupported',
    `${source.base}: is a ${mode} repository; only archive ones are served over HTTP`,
  );
}

/** The refs that a remote lists in its summary, or null when it has none. */
async function readSummaryRefs(source: HttpSource): Promise<Map<string, Checksum> | null> {
  const data = await source.bytes('summary', MAX_METADATA_BYTES);
  if (!data) return null;
  const { refs } = decodeSummary(data, `${source.base}summary`);
  return new Map([...refs].map(([name, { commit }]) => [name, commit]));
}

/**
 * The commits that refs of a remote name: from its summary, or where that lacks one, from the ref's own file.
 *
 * @param names without names, all that the summary lists
 * @param hasConfig what assertArchive said: without it, a summary and the ref, nothing is there at all
 * @throws OstreeError `not-found`; `network` when the server refuses to say
 */
export async function resolveRemoteRefs(
  source: HttpSource,
  names: readonly string[] | undefined,
  hasConfig: boolean,
): Promise<Map<string, Checksum>> {
  for (const name of names ?? []) {
    if (!isRefName(name)) throw new OstreeError('invalid', `${JSON.stringify(name)} cannot be the name of a ref`);
  }
  const listed = await readSummaryRefs(source);
  if (!names) {
    if (listed) return new Map([...listed].filter(([name]) => isRefName(name)));
    refuseForbidden(source, ['summary', ...(hasConfig ? [] : ['config'])]);
    if (!hasConfig) throw noRepository(source, 'neither config nor summary');
    throw new OstreeError('not-found', `${source.base}: has no summary that lists its refs`, {
      hint: 'Say which refs to pull.',
    });
  }
  const found = new Map<string, Checksum>();
  for (const name of names) {
    const commit = listed?.get(name) ?? (await readRefFile(source, name));
    if (!commit) throw noRef(source, name, listed, hasConfig);
    found.set(name, commit);
  }
  return found;
}

function noRef(
  source: HttpSource,
  name: string,
  listed: Map<string, Checksum> | null,
  hasConfig: boolean,
): OstreeError {
  const file = `refs/heads/${name}`;
  if (!listed) refuseForbidden(source, hasConfig ? [file] : [file, 'summary', 'config']);
  if (!listed && !hasConfig) return noRepository(source, `neither config, nor summary, nor ${file}`);
  const forbidden = source.forbidden(file);
  const said =
    forbidden === undefined ? '' : `: its summary does not list it, and for ${file} it answered ${forbidden}`;
  return new OstreeError('not-found', `${source.base}: has no ref ${name}${said}`, refHint(listed));
}

/** Throws when the server would not give one of these files. */
function refuseForbidden(source: HttpSource, paths: readonly string[]): void {
  for (const path of paths) {
    const forbidden = source.forbidden(path);
    if (forbidden === undefined) continue;
    throw new OstreeError('network', `${source.base}${path}: the server answered ${forbidden}`, { hint: ACCESS_HINT });
  }
}

function noRepository(source: HttpSource, without: string): OstreeError {
  return new OstreeError('not-found', `${source.base}: there is no OSTree repository at this URL (${without})`, {
    hint: 'Check the address: it is that of the folder in which config, objects and refs are.',
  });
}

function refHint(listed: Map<string, Checksum> | null): { hint?: string } {
  if (!listed || listed.size === 0) return {};
  const names = [...listed.keys()];
  return { hint: `It has ${names.slice(0, 8).join(', ')}${names.length > 8 ? ` and ${names.length - 8} more` : ''}.` };
}

async function readRefFile(source: HttpSource, name: string): Promise<Checksum | null> {
  const data = await source.bytes(`refs/heads/${name}`, MAX_REF_BYTES);
  if (!data) return null;
  const text = data.toString('latin1').trimEnd();
  if (isChecksum(text)) return text;
  throw notARepository(source, `refs/heads/${name} does not hold a checksum`);
}

function notARepository(source: HttpSource, why: string, cause?: unknown): OstreeError {
  return new OstreeError('network', `${source.base}: does not answer as an OSTree repository: ${why}`, {
    hint: 'Check the address; a web server may be answering with a page of its own.',
    cause,
  });
}
