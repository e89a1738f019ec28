import type { AuditEntry, AuditPage } from '@treeline/server';
import type { Command } from 'commander';
import { span, wholeNumber } from '../arguments.ts';
import { paint } from '../output/colour.ts';
import { printDocument, printText } from '../output/document.ts';
import { formatTable } from '../output/table.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

type AuditOptions = {
  actor?: string;
  action?: string;
  subject?: string;
  address?: string;
  since?: number;
  limit: number;
};

/** Most entries that the server gives at once. */
const PAGE = 1000;

export function declare(command: Command, session: Session): void {
  command
    .description('The audit log: who changed what, from where and when; newest first. Takes the right to administer.')
    .option('--actor <name>', 'only what this token did; `server` for what happens by itself')
    .option('--action <action>', 'only this, such as release.publish; `release.` for all of releases')
    .option('--subject <subject>', 'only changes of this: REPO:CHANNEL, a commit, a device, a token')
    .option('--address <address>', 'only what came from this address')
    .option('--since <span>', 'only the last 2h, 7d …', span)
    .option('-n, --limit <number>', 'how many', wholeNumber, 50)
    .addHelpText('after', '\nExample:\n  treeline audit --action release. --since 7d')
    .action((_: object, self: Command) => audit(self, session));
}

async function audit(self: Command, session: Session): Promise<void> {
  const { actor, action, subject, address, since, limit, ...options } = optionsOf<AuditOptions>(self);
  const client = clientOf(session, options);
  const filter = {
    ...{ actor, action, subject, address },
    since: since === undefined ? undefined : new Date(Date.now() - since * 1000).toISOString(),
  };
  const entries: AuditEntry[] = [];
  let next: number | null | undefined;
  do {
    const query = { ...filter, limit: Math.min(limit - entries.length, PAGE), before: next ?? undefined };
    const page: AuditPage = await client.get<AuditPage>('audit', query);
    entries.push(...page.entries);
    next = page.next;
  } while (next !== null && entries.length < limit);
  if (options.json) return printDocument({ entries, next });
  if (entries.length === 0) return printText('Nothing of that was written down.');
  const columns = [
    { header: 'when' },
    { header: 'who' },
    { header: 'from' },
    { header: 'what' },
    { header: 'to what', shrink: true },
    { header: 'more', shrink: true },
  ];
  printText(formatTable(columns, entries.map(cells)));
  if (next !== null) printText(paint('dim', `\nThere is more: treeline audit --limit ${limit * 2}`));
}

function cells({ at, actor, address, action, subject, data }: AuditEntry): string[] {
  const when = new Date(at).toLocaleString('sv');
  const more = Object.entries(data)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  return [when, actor, address ?? '-', action, subject, more.join(' ')];
}
