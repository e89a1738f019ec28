import { admitsLabel, type Label } from '@treeline/pipeline';
import type { Actor } from '../access/audit.ts';
import type { Core } from '../core.ts';
import type { Queryable } from '../database/open.ts';
import { ServerError } from '../errors.ts';
import { channelHeads } from '../reading/releases.ts';
import { declarationsOf } from './declared.ts';
import { traceLabels } from './trace.ts';

/** What a label is put on: a commit, and so every commit of its tree, or a name, and so all that ever has it. */
export type Labelled =
  | { kind: 'commit'; commit: string; tree: { contents: string; meta: string } }
  /** `vendor`: all that the project's sources make. `vendor/drivers`: all artifacts of this name. */
  | { kind: 'name'; name: string };

export interface LabelChange {
  label: Label;
  reason: string;
  by: Actor;
}

/** A channel that holds something whose labels its repository does not admit. */
export interface Unadmitted {
  repository: string;
  channel: string;
  commit: string;
  label: Label;
  path: string[];
}

/** Puts a label on something by hand. Doing so twice changes nothing but who said it last, and why. */
export async function setLabel(core: Core, on: Labelled, { label, reason, by }: LabelChange): Promise<void> {
  await core.db.transaction().execute(async (trx) => {
    const row = { label, actor: by?.name ?? null, reason, created_at: Date.now() };
    const { label: _, ...said } = row;
    if (on.kind === 'commit') {
      await trx
        .insertInto('labels')
        .values({ ...row, ...on.tree, name: '', commit: on.commit })
        .onConflict((c) => c.columns(['contents', 'meta', 'label', 'name']).doUpdateSet({ ...said, commit: on.commit }))
        .execute();
    } else {
      await trx
        .insertInto('name_labels')
        .values({ ...row, name: on.name, by_hand: 1 })
        .onConflict((c) => c.columns(['name', 'label', 'by_hand']).doUpdateSet(said))
        .execute();
    }
    await note(trx, core, { verb: 'set', on, label, reason, by });
  });
}

/**
 * Takes a label off, whoever put it there. What a treeline.yaml declares comes back with the next run, unless the file
 * is changed first.
 *
 * @throws ServerError `not-found` when it does not have it by itself
 */
export async function removeLabel(core: Core, on: Labelled, { label, reason, by }: LabelChange): Promise<void> {
  await core.db.transaction().execute(async (trx) => {
    // With a name goes what its file had put on the trees that it stands for.
    if (on.kind === 'name') {
      await trx.deleteFrom('labels').where('name', '=', on.name).where('label', '=', label).execute();
    }
    const { numDeletedRows } =
      on.kind === 'commit'
        ? await trx
            .deleteFrom('labels')
            .where('label', '=', label)
            .where((eb) =>
              eb.or([
                eb('commit', '=', on.commit),
                eb.and([eb('contents', '=', on.tree.contents), eb('meta', '=', on.tree.meta)]),
              ]),
            )
            .executeTakeFirstOrThrow()
        : await trx
            .deleteFrom('name_labels')
            .where('name', '=', on.name)
            .where('label', '=', label)
            .executeTakeFirstOrThrow();
    if (numDeletedRows === 0n) {
      const what = on.kind === 'commit' ? `commit ${on.commit.slice(0, 10)}` : on.name;
      throw new ServerError('not-found', `${what} does not have the label ${label} by itself`, {
        hint: 'treeline show tells where a label comes from: take it off there.',
      });
    }
    await note(trx, core, { verb: 'removed', on, label, reason, by });
  });
}

async function note(
  trx: Queryable,
  core: Core,
  { verb, on, label, reason, by }: LabelChange & { verb: 'set' | 'removed'; on: Labelled },
): Promise<void> {
  const subject = on.kind === 'commit' ? on.commit : on.name;
  const action = verb === 'set' ? 'label.set' : 'label.remove';
  await core.audit.record({ caller: by, action, subject, data: { label, reason } }, trx);
  const what = on.kind === 'commit' ? { commit: on.commit } : { name: on.name };
  await core.events.append(`label.${verb}`, { ...what, label, reason }, trx);
}

/** What is published already and would be refused now: a label does not take back what is out. */
export async function unadmitted(core: Core): Promise<Unadmitted[]> {
  const found: Unadmitted[] = [];
  const deps = { db: core.db, origins: core.origins, defaultLabel: core.settings.defaultLabel };
  for (const { repository, channel, commit } of await channelHeads(core.db)) {
    const admits = core.repositories.find(repository)?.settings.admits;
    if (!admits) continue;
    const declared = declarationsOf(core.db, { repository, run: null });
    const { labels } = await traceLabels({ ...deps, declared }, commit);
    const refused = labels.find(({ label }) => !admitsLabel(admits, label));
    if (refused) found.push({ repository, channel, commit, label: refused.label, path: refused.path });
  }
  return found;
}
