import { CliError } from '../errors.ts';
import { type ClientCertificate, readClientCertificate } from './certificates.ts';
import { dataFolder, readAdminToken, readServerFile, upCommand } from './folder.ts';

/** Options that every verb takes. */
export type GlobalOptions = {
  server?: string;
  token?: string;
  data?: string;
  json?: boolean;
  ca?: string;
  clientCert?: string;
  clientKey?: string;
};

/** Where the server is and how to speak to it. */
export type Connection = {
  url: URL;
  token: string | null;
  /** Set when it was found by way of its data folder. */
  folder: string | null;
  /** What others call it, where that is not `url`. */
  publicUrl?: URL;
  /** Shown to the server; it stands for a token there. */
  certificate?: ClientCertificate;
};

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
  const shown = readClientCertificate({
    cert: options.clientCert ?? env.TREELINE_CLIENT_CERT,
    key: options.clientKey ?? env.TREELINE_CLIENT_KEY,
  });
  const certificate = shown ? { certificate: shown } : {};
  if (address !== undefined) {
    const url = parseAddress(address, options.server === undefined ? 'TREELINE_SERVER' : '--server');
    const isOurs = readOwn(folder).includes(url.origin);
    const own = token ?? (isOurs ? readAdminToken(folder) : null);
    return { url, token: own, folder: isOurs ? folder : null, ...certificate };
  }
  const found = readServerFile(folder);
  if (!found) {
    throw new CliError('unreachable', `No server is running here: ${folder} has no server.json.`, {
      hint: `Start one with: ${upCommand(folder)}\nOr name one: --server URL, or TREELINE_SERVER and TREELINE_TOKEN.`,
    });
  }
  const file = `${folder}/server.json`;
  return {
    url: parseAddress(found.local ?? found.url, file),
    publicUrl: parseAddress(found.url, file),
    token: token ?? readAdminToken(folder),
    ...{ folder, ...certificate },
  };
}

/** Origins of the server of a data folder. */
function readOwn(folder: string): string[] {
  try {
    const file = readServerFile(folder);
    const urls = [file?.url, file?.local].filter((url) => url !== undefined);
    return urls.filter((url) => URL.canParse(url)).map((url) => new URL(url).origin);
  } catch {
    return [];
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
