import { join, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { dataFolder, readServerFile } from '../connection/folder.ts';
import { CliError } from '../errors.ts';
import { cacheConfiguration } from '../nginx/cache.ts';
import { frontConfiguration } from '../nginx/front.ts';
import { isPlain } from '../nginx/text.ts';
import { printText } from '../output/document.ts';
import { optionsOf, type Session } from '../session.ts';

type ListenOptions = { listen?: string; name?: string[]; tlsCertificate?: string; tlsKey?: string };
type FrontVerbOptions = ListenOptions & { upstream?: string; repos?: string; state: string; data?: string };
type CacheVerbOptions = ListenOptions & { cache: string; size: string; log?: string; authorities: string };

export function declare(command: Command, _session: Session): void {
  command
    .description(
      'Print a configuration for nginx: in front of a Treeline server, or as a caching mirror of any OSTree repository. ' +
        'It goes to standard output and belongs into a file in /etc/nginx/conf.d.',
    )
    .allowExcessArguments()
    .action((_: object, self: Command) => {
      const [word] = self.args;
      if (word === undefined) return self.help();
      throw new CliError('usage', `There is no \`treeline nginx ${word}\`.`, {
        hint: 'There are: front, cache. See: treeline nginx --help',
      });
    });

  listening(command.command('front'))
    .summary('in front of a Treeline server: nginx sends objects and deltas by itself')
    .description(
      'In front of a Treeline server. nginx sends objects and deltas from the published folders by itself, asks Treeline who may ' +
        'read a private repository, and passes on everything else: what may change, the API, pushes, events.',
    )
    .option('--upstream <url>', 'the server (default: that of the data folder, else http://127.0.0.1:8420)')
    .option('--repos <dir>', 'the published repositories as nginx sees them (default: repos in the data folder)', path)
    .option('--state <dir>', 'where nginx notes who may read what', path, '/var/cache/treeline-access')
    .addHelpText(
      'after',
      `
The data folder is for the server's user alone; nginx has another. Let it see the
published repositories, and nothing else of it, at a place of their own:

  mount --bind -o ro ~/.local/share/treeline/repos /srv/treeline
  treeline nginx front --repos /srv/treeline --listen 443 --name dl.example.org \\
    --tls-certificate /etc/ssl/dl.pem --tls-key /etc/ssl/dl.key > /etc/nginx/conf.d/treeline.conf

More: docs/serving.md`,
    )
    .action((_: object, self: Command) => {
      const options = optionsOf<FrontVerbOptions>(self);
      const folder = dataFolder(options.data);
      const upstream = options.upstream ?? readServerFile(folder)?.url ?? 'http://127.0.0.1:8420';
      printText(
        frontConfiguration({
          upstream: address(upstream, ['http:']),
          repos: options.repos ?? plain(join(folder, 'repos')),
          state: options.state,
          ...listenOptions(options),
        }).trimEnd(),
      );
    });

  listening(command.command('cache'))
    .argument('<origin>', 'the repository, or another cache of it: https://dl.example.org/repos/public')
    .summary('a caching mirror of an OSTree repository')
    .description(
      'A caching mirror of an OSTree repository, from whatever serves it; also of another such mirror. Objects and deltas are ' +
        'fetched once and kept; what may change is asked for each time. Clients use the same path as at the origin.',
    )
    .option('--cache <dir>', 'where it keeps what it has fetched', path, '/var/cache/treeline-mirror')
    .option('--size <size>', 'as much of it as there may be, such as 50g', size, '50g')
    .option('--log <file>', 'write a line for each request, with whether the cache had it', path)
    .option(
      '--authorities <file>',
      'certificates that the origin is checked by',
      path,
      '/etc/ssl/certs/ca-certificates.crt',
    )
    .addHelpText(
      'after',
      `
Example:
  treeline nginx cache https://dl.example.org/repos/public --listen 80 > /etc/nginx/conf.d/treeline-mirror.conf
  ostree remote add … http://mirror.example.org/repos/public`,
    )
    .action((origin: string, _: object, self: Command) => {
      const options = optionsOf<CacheVerbOptions>(self);
      printText(
        cacheConfiguration({
          origin: address(origin, ['http:', 'https:']),
          cache: options.cache,
          size: options.size,
          log: options.log ?? null,
          authorities: options.authorities,
          ...listenOptions(options),
        }).trimEnd(),
      );
    });
}

function listening(command: Command): Command {
  return command
    .option(
      '--listen <address>',
      'what it listens on: a port, or ADDRESS:PORT (default: 443 with TLS, else 80)',
      listenAddress,
    )
    .option('--name <name...>', 'names that it answers to (default: any)', names, [])
    .option('--tls-certificate <file>', 'certificate with its chain', path)
    .option('--tls-key <file>', 'its key', path);
}

function listenOptions(options: ListenOptions) {
  const { tlsCertificate: certificate, tlsKey: key } = options;
  if ((certificate === undefined) !== (key === undefined)) {
    throw new CliError('usage', 'A certificate and its key go together.', {
      hint: 'Give --tls-certificate and --tls-key.',
    });
  }
  const tls = certificate !== undefined && key !== undefined ? { certificate, key } : null;
  return { listen: options.listen ?? (tls ? '443' : '80'), names: options.name ?? [], tls };
}

function address(text: string, protocols: readonly string[]): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!url || !protocols.includes(url.protocol) || url.username || url.search || url.hash || !isPlain(url.href)) {
    throw new CliError('usage', `${text} is not an address that nginx can be told.`, {
      hint: `It must begin with ${protocols.map((protocol) => `${protocol}//`).join(' or ')} and have no password or query.`,
    });
  }
  return url;
}

function plain(text: string): string {
  if (isPlain(text)) return text;
  throw new CliError(
    'usage',
    `nginx cannot be told of ${JSON.stringify(text)}: there is a $ in it, or a control character.`,
  );
}

function path(text: string): string {
  return plain(resolve(text));
}

function size(text: string): string {
  if (!/^\d{1,9}[kmg]?$/i.test(text)) throw new InvalidArgumentError('It must be a size such as 500m or 50g.');
  return text.toLowerCase();
}

function listenAddress(text: string): string {
  if (!/^(?:(?:[A-Za-z0-9.-]+|\[[0-9a-f:.]+\]|\*):)?\d{1,5}$/i.test(text)) {
    throw new InvalidArgumentError('It must be a port, or an address and a port such as 127.0.0.1:8080.');
  }
  return text;
}

function names(text: string, before: string[] = []): string[] {
  if (!/^[A-Za-z0-9*._-]{1,253}$/.test(text)) throw new InvalidArgumentError('It must be a host name.');
  return [...before, text];
}
