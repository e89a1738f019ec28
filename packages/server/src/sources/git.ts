import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { ServerError } from '../errors.ts';

export interface GitOptions {
  /** Bare repository to work in. */
  gitDir?: string;
  signal?: AbortSignal;
  timeoutSeconds: number;
  environment?: Record<string, string>;
}

const STDERR_LIMIT = 64 * 1024;
const STDOUT_LIMIT = 16 * 1024 * 1024;

/**
 * Whether a text may be given to git as a remote: no option, no remote helper (`ext::sh -c …` runs a command).
 *
 * @throws ServerError `source-invalid`
 */
export function checkUrl(url: string): void {
  const bad = (message: string, hint: string) => {
    throw new ServerError('source-invalid', message, { hint });
  };
  const kinds = 'Use a path, or a file://, https://, http://, ssh:// or git:// URL, or user@host:path.';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\x00-\x1f\x7f]/.test(url)) bad('the git URL has control characters', kinds);
  if (url.startsWith('-')) bad(`the git URL "${url}" starts with "-", which git would take as an option`, kinds);
  if (/^[A-Za-z0-9+.-]*::/.test(url)) bad(`the git URL "${url}" names a remote helper`, kinds);
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(url)?.[1];
  if (scheme && !['file', 'https', 'http', 'ssh', 'git'].includes(scheme.toLowerCase())) {
    bad(`the git URL has the unknown scheme "${scheme}"`, kinds);
  }
  if (!scheme && !url.startsWith('/') && !/^[^/]+:/.test(url)) {
    // It would be relative to wherever the server happens to run.
    bad(`the git URL "${url}" is a relative path`, kinds.replace('a path', 'an absolute path'));
  }
  // The URL becomes part of every commit's provenance, published ones too.
  if (/^https?:\/\/[^/]*@/i.test(url)) {
    bad('the git URL holds a user name or password', 'Leave it out; give the server a git credential helper instead.');
  }
}

/** Whether a text may be given to git as a branch, tag or revision. @throws ServerError `source-invalid` */
export function checkRevision(text: string): void {
  if (!/^[A-Za-z0-9_][A-Za-z0-9_./-]*$/.test(text) || text.includes('..') || text.endsWith('.lock')) {
    throw new ServerError('source-invalid', `"${text}" is no name of a branch, tag or revision`, {
      hint: 'Use letters, digits, ".", "_", "/" and "-", starting with a letter or digit.',
    });
  }
}

/** Runs git to its end and returns its standard output. @throws ServerError `source-unreachable` with git's words. */
export async function git(args: string[], o: GitOptions): Promise<string> {
  return await gitStream(args, o, async (stdout) => {
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of stdout) {
      length += (chunk as Buffer).length;
      if (length > STDOUT_LIMIT)
        throw new ServerError('source-invalid', `git ${args[0]} says more than ${STDOUT_LIMIT} bytes`);
      chunks.push(chunk as Buffer);
    }
    return Buffer.concat(chunks).toString('utf8');
  });
}

/** Runs git, giving its standard output to `consume`; ends well only if both do. */
export async function gitStream<T>(
  args: string[],
  o: GitOptions,
  consume: (stdout: Readable) => Promise<T>,
): Promise<T> {
  const timeout = AbortSignal.timeout(o.timeoutSeconds * 1000);
  const signal = o.signal ? AbortSignal.any([o.signal, timeout]) : timeout;
  const child = spawn('git', [...(o.gitDir ? [`--git-dir=${o.gitDir}`] : []), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...environment(), ...o.environment },
    signal,
    killSignal: 'SIGKILL',
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-STDERR_LIMIT);
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  // Both are awaited below; until then a rejection must not count as unhandled.
  ended.catch(() => {});
  let value: T;
  try {
    value = await consume(child.stdout);
  } catch (error) {
    child.kill('SIGKILL');
    const code = await ended.catch(() => null);
    if (code !== 0 && stderr !== '') throw failure(args, stderr, { timedOut: timeout.aborted, cause: error, o });
    throw error;
  }
  let code: number | null;
  try {
    code = await ended;
  } catch (error) {
    throw failure(args, stderr, { timedOut: timeout.aborted, cause: error, o });
  }
  if (code !== 0) throw failure(args, stderr, { timedOut: timeout.aborted, cause: null, o });
  return value;
}

/** No prompts, no helpers, no repository of the surrounding folder, no localised messages. */
function environment(): NodeJS.ProcessEnv {
  // GIT_DIR and its like would point git elsewhere; how to reach a server is the operator's to say.
  const kept = Object.entries(process.env).filter(
    ([name]) => /^GIT_(SSH|CONFIG)/.test(name) || !/^(GIT|TREELINE)_/.test(name),
  );
  return {
    GIT_SSH_COMMAND: 'ssh -oBatchMode=yes',
    ...Object.fromEntries(kept),
    LC_ALL: 'C',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '/bin/false',
    SSH_ASKPASS: '/bin/false',
    GIT_ALLOW_PROTOCOL: 'file:http:https:ssh:git',
    GIT_OPTIONAL_LOCKS: '0',
  };
}

function failure(
  args: string[],
  stderr: string,
  why: { timedOut: boolean; cause: unknown; o: GitOptions },
): ServerError {
  const verb = args.find((arg) => /^[a-z]/.test(arg) && !arg.includes('=') && !arg.includes('.')) ?? 'git';
  if (why.timedOut) {
    return new ServerError('source-unreachable', `git ${verb} did not end within ${why.o.timeoutSeconds} s`, {
      hint: 'Is the server of the repository reachable? The limit is the setting gitTimeoutSeconds.',
    });
  }
  if ((why.cause as NodeJS.ErrnoException | null)?.code === 'ENOENT') {
    return new ServerError('source-unreachable', 'git is not installed on the server', { hint: 'apt install git' });
  }
  const words = stderr
    .split('\n')
    .map((line) => line.replace(/^(fatal|error|remote): /, '').trim())
    .filter((line) => line !== '' && !BOILERPLATE.test(line))
    .slice(0, 4)
    .join('; ');
  return new ServerError('source-unreachable', `git ${verb} failed: ${words || 'it did not say why'}`, {
    ...(hintFor(words) ? { hint: hintFor(words)! } : {}),
    cause: why.cause ?? undefined,
  });
}

/** What git says after every failure of a transport, whatever it was. */
const BOILERPLATE =
  /^(Could not read from remote repository\.|Please make sure you have the correct access rights|and the repository exists\.)$/;

function hintFor(words: string): string | undefined {
  if (/dubious ownership/.test(words)) {
    return 'Another user owns that repository: run git config --global --add safe.directory PATH as the user of the server.';
  }
  if (/terminal prompts disabled|Authentication failed|Permission denied/.test(words)) {
    return 'The server has no credentials for it: give it an ssh key or a git credential helper.';
  }
  if (/does not appear to be a git repository|not found|does not exist|No such file/.test(words)) {
    return 'Check the URL: is there a git repository?';
  }
  if (/transport '.*' not allowed/.test(words)) return 'Use a path, or a file, http(s), ssh or git URL.';
  if (
    /Failed to connect|Could not resolve host|Connection (refused|timed out)|No route to host|unreachable/.test(words)
  ) {
    return 'Does that server answer, and from the machine that Treeline runs on? Check the URL and the network.';
  }
  return undefined;
}
