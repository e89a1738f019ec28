import { CliError } from '../errors.ts';
import { dataFolder, readAdminToken, readServerFile, upCommand } from './folder.ts';

/** Options that every verb takes. */
export type GlobalOptions = { server?: string; token?: string; data?: string; json?: boolean };

/** Where the server is and how to speak to it. `folder` is set when it was found by way of its data folder. */
export type Connection = { url: URL; token: string | null; folder: string | null };

/**
 * Finds the server: --server, else TREELINE_SERVER, else `server.json` in the data folder. The token comes from
 * --token, else TREELINE_TOKEN, else `admin-token` in the data folder, but only if the server is that folder's own:
 * an admin token is never sent to an address that somebody else named.
 */
export function findServer(options: GlobalOptions, env: NodeJS.ProcessEnv = process.env): Connection {
  const token = options.token ?? (env.TREELINE_TOKEN || null);
  // --data on the command line is nearer than TREELINE_SERVER in the environment.
  const address = options.server ?? (options.data === undefined ? env.TREELINE_SERVER || undefined : undefined);
  const folder = dataFolder(options.data, env);
  if (address !== undefined) {
    const url = parseAddress(address, options.server === undefined ? 'TREELINE_SERVER' : '--server');
    const isOurs = readOwn(folder)?.origin === url.origin;
    return { url, token: token ?? (isOurs ? readAdminToken(folder) : null), folder: isOurs ? folder : null };
  }
  const found = readServerFile(folder);
  if (!found) {
    throw new CliError('unreachable', `No server is running here: ${folder} has no server.json.`, {
      hint: `Start one with: ${upCommand(folder)}\nOr name one: --server URL, or TREELINE_SERVER and TREELINE_TOKEN.`,
    });
  }
  return { url: parseAddress(found.url, `${folder}/server.json`), token: token ?? readAdminToken(folder), folder };
}

function readOwn(folder: string): URL | null {
  try {
    const file = readServerFile(folder);
    return file && URL.canParse(file.url) ? new URL(file.url) : null;
  } catch {
    return null;
  }
}

function parseAddress(text: string, where: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new CliError('usage', `${where} is not the address of a server: ${text}`, {
      hint: 'Write it like this: http://127.0.0.1:8420',
    });
  }
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}
