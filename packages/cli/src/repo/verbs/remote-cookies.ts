import { addCookie, deleteCookie, listCookies } from '@treeline/ostree/pull/cookie-jar.ts';
import { type Parsed, UsageError } from '../options.ts';
import { openNamedRepo, type RepoVerb, say } from '../verb.ts';

export const remoteAddCookie: RepoVerb = {
  usage: 'NAME DOMAIN PATH COOKIE_NAME VALUE',
  options: {},
  async run(parsed) {
    const message = 'NAME, DOMAIN, PATH, COOKIE_NAME and VALUE must be specified';
    const [remote, domain, path, name, value] = needed(parsed, 5, message);
    await addCookie(await openNamedRepo(parsed), remote!, {
      domain: domain!,
      path: path!,
      name: name!,
      value: value!,
    });
  },
};

export const remoteDeleteCookie: RepoVerb = {
  usage: 'NAME DOMAIN PATH COOKIE_NAME',
  options: {},
  async run(parsed) {
    // A value after these is ignored, as ostree does.
    const message = 'NAME, DOMAIN, PATH and COOKIE_NAME must be specified';
    const [remote, domain, path, name] = needed(parsed, 4, message);
    await deleteCookie(await openNamedRepo(parsed), remote!, { domain: domain!, path: path!, name: name! });
  },
};

export const remoteListCookies: RepoVerb = {
  usage: 'NAME',
  options: {},
  async run(parsed) {
    const [remote] = needed(parsed, 1, 'NAME must be specified');
    for (const cookie of await listCookies(await openNamedRepo(parsed), remote!)) {
      const expires = new Date(cookie.expires * 1000);
      say('--');
      say(`Domain: ${cookie.domain}`);
      say(`Path: ${cookie.path}`);
      say(`Name: ${cookie.name}`);
      say(`Secure: ${cookie.secure ? 'TRUE' : 'FALSE'}`);
      if (!Number.isNaN(expires.getTime())) {
        say(`Expires: ${expires.toISOString().slice(0, 19).replace('T', ' ')} +0000`);
      }
      say(`Value: ${cookie.value}`);
    }
  },
};

function needed(parsed: Parsed, count: number, message: string): string[] {
  if (parsed.positionals.length < count) throw new UsageError(message, { showHelp: true });
  return parsed.positionals;
}
