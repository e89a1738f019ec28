import type { MadeToken, RevokedTokens, Token, WhoAmI } from '@treeline/server';
import { type Command, InvalidArgumentError } from 'commander';
import { list as commaList, refuseWords, span } from '../arguments.ts';
import { paint } from '../output/colour.ts';
import { printDocument, printProse, printText } from '../output/document.ts';
import { oneLine } from '../output/text.ts';
import { formatToken, tokenTable } from '../output/token.ts';
import { count } from '../output/words.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';
import { printCaller } from './whoami.ts';

type CreateOptions = {
  role?: string;
  allow?: string[];
  on?: string[];
  expires?: number | null;
  certificateName?: string;
  independent?: boolean;
};

const roles = `Roles:
  viewer     read
  developer  read, run, push
  publisher  read, run, push, label, publish
  operator   read, operate
  admin      everything

Actions: read, run, push, force (move a ref of the store whatever it holds: in no role
but admin), label, publish, operate, administer.

Patterns say which refs, channels and private repositories: robot/* is every ref of one
more part, robot/** all below, public:robot/** channels, public the repository itself.`;

export function declare(command: Command, session: Session): void {
  command.description('Access tokens: who may do what, on which refs and channels, until when.');

  command
    .command('create')
    .argument('<name>', 'what it is for, or who has it: the audit log names it so')
    .summary('make a token; it is shown once')
    .description(
      'Make a token. It allows at most what the one that you use does, and ends with it (unless you use the admin token ' +
        'of the data folder). With neither --role nor --allow it allows the same.',
    )
    .option('--role <role>', 'viewer, developer, publisher, operator or admin')
    .option('--allow <actions>', 'actions (comma list), beside those of the role', commaList)
    .option('--on <pattern>', 'only for these refs, channels and repositories; can be given several times', more)
    .option('--expires <span>', 'until when it is good: 12h, 30d, or never (default)', expiry)
    .option('--certificate-name <cn>', 'it stands for TLS client certificates of this common name, and has no text')
    .option('--independent', 'it outlives the token that you use; takes administer')
    .addHelpText(
      'after',
      `\n${roles}\n\nExamples:\n  treeline token create ci --role developer --on 'robot/**' --expires 90d` +
        "\n  treeline token create acme --allow read --on acme-images\n  treeline token create garage --allow read,push --on 'yocto/*'",
    )
    .action((name: string, _: object, self: Command) => create(name, self, session));

  command
    .command('list', { isDefault: true })
    .option('--all', 'also those that have ended')
    .summary('list the tokens (what `treeline token` alone does)')
    .description('The tokens: all for who may administer, otherwise your own and those made from it.')
    .allowExcessArguments()
    .action((_: object, self: Command) => list(self, session));

  command
    .command('show')
    .argument('[name]', 'name or id of a token (default: the one that you use)')
    .summary('one token: what it allows, when it was used')
    .description('One token: what it allows, until when, when it was used, and from where.')
    .action(async (name: string | undefined, _: object, self: Command) => {
      const options = optionsOf(self);
      const client = clientOf(session, options);
      if (name === undefined) return printCaller(await client.get<WhoAmI>('whoami'), options);
      const token = await client.get<Token>(`tokens/${encodeURIComponent(name)}`);
      if (options.json) return printDocument(token);
      printText(formatToken(token, Date.now()));
    });

  command
    .command('revoke')
    .argument('<name>', 'name or id of a token')
    .summary('end a token, at once')
    .description('End a token and all that were made from it. What it is used for at this moment ends, too.')
    .action((name: string, _: object, self: Command) => revoke(name, self, session));
}

function more(pattern: string, before: string[] = []): string[] {
  return [...before, pattern];
}

function expiry(text: string): number | null {
  if (text === 'never') return null;
  try {
    return span(text);
  } catch {
    throw new InvalidArgumentError('It must be a span such as 12h or 30d, or: never.');
  }
}

async function create(name: string, self: Command, session: Session): Promise<void> {
  const options = optionsOf<CreateOptions>(self);
  const client = clientOf(session, options);
  const { role, allow, on, expires, certificateName, independent } = options;
  const made = await client.send<MadeToken>('POST', 'tokens', {
    name,
    ...(role === undefined ? {} : { role }),
    ...(allow === undefined ? {} : { allow }),
    ...(on === undefined ? {} : { on }),
    ...(expires == null ? {} : { expiresSeconds: expires }),
    ...(certificateName === undefined ? {} : { certificateName }),
    ...(independent ? { independent } : {}),
  });
  if (options.json) return printDocument(made);
  printText(formatToken(made, Date.now()));
  const { origin } = client.connection.publicUrl ?? client.connection.url;
  if (made.token === null) {
    printProse(
      `\nWhoever connects with a client certificate of the common name ${oneLine(made.certificateName ?? '')}, issued by ` +
        'the authority that the server was started with (treeline up --tls-client-ca), is let in as this.',
    );
    return;
  }
  printText(`\n${paint('bold', oneLine(made.token))}\n`);
  printProse('Keep it now: it is shown only this once.');
  printText(paint('dim', '\nTo use it:'));
  printText(
    [
      `  export TREELINE_SERVER=${origin} TREELINE_TOKEN=tl_…`,
      `  curl -H 'Authorization: Bearer tl_…' ${origin}/api/v1/whoami`,
      `  ostree pull --http-header='Authorization=Bearer tl_…' REMOTE REF   (${origin}/repos/NAME)`,
    ].join('\n'),
  );
}

async function list(self: Command, session: Session): Promise<void> {
  refuseWords(self);
  const options = optionsOf<{ all?: boolean }>(self);
  const query = options.all ? { all: 1 } : {};
  const answer = await clientOf(session, options).get<{ tokens: Token[] }>('tokens', query);
  if (options.json) return printDocument(answer);
  if (answer.tokens.length === 0) {
    return printText('No tokens yet, but the admin token. Make one: treeline token create NAME --role developer');
  }
  printText(tokenTable(answer.tokens, Date.now()));
}

async function revoke(name: string, self: Command, session: Session): Promise<void> {
  const options = optionsOf(self);
  const client = clientOf(session, options);
  const answer = await client.send<RevokedTokens>('DELETE', `tokens/${encodeURIComponent(name)}`);
  if (options.json) return printDocument(answer);
  const [first, ...others] = answer.revoked;
  if (first === undefined) return printText(`${oneLine(name)} had ended already.`);
  const withIt = others.length === 0 ? '' : `, and with it ${count(others.length, 'token')} made from it`;
  printText(`${oneLine(name)} is revoked${withIt}.`);
}
