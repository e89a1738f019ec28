import type { Core } from '../core.ts';
import type { Admission, AdmittedLabel, UsedDeclaration } from '../labels/admission.ts';
import type { PublicationRow, ReleaseRow } from './tables.ts';

/** What a publication notes of the labels of its commits. */
export interface LabelNote {
  labels: (AdmittedLabel & { commit: string })[];
  declared: (UsedDeclaration & { release: string; channel: string })[];
}

/**
 * Writes down by which declarations commits were let in: once for each release and declaration in the audit log and
 * the event log, with the git revision and file that says so and the way by which the label came in.
 */
export async function noteAdmissions(
  core: Core,
  o: { publication: PublicationRow; releases: readonly ReleaseRow[]; admissions: readonly Admission[] },
): Promise<void> {
  const { number } = o.publication;
  const labels = o.admissions.flatMap(({ commit, labels }) => labels.map((label) => ({ ...label, commit })));
  const declared: LabelNote['declared'] = o.releases.flatMap(({ id, channel, commit }) => {
    const admission = o.admissions.find((one) => one.commit === commit);
    return (admission?.declared ?? []).map((used) => ({ ...used, release: id, channel }));
  });
  const text = JSON.stringify({ labels, declared } satisfies LabelNote);
  const { db } = core;
  const row = await db.selectFrom('publications').select('labels').where('number', '=', number).executeTakeFirst();
  if (row?.labels === text) return;
  const before = row?.labels ? (JSON.parse(row.labels) as LabelNote) : null;
  const known = new Set((before?.declared ?? []).map((one) => JSON.stringify(one)));
  await db.transaction().execute(async (trx) => {
    for (const used of declared.filter((one) => !known.has(JSON.stringify(one)))) {
      const { release, channel, project, artifact, repository, because, revision, file, line, passed } = used;
      const data = { release, artifact: `${project}/${artifact}`, because, revision, file, line, passed };
      const subject = `${repository}:${channel}`;
      await core.audit.record({ caller: null, action: 'release.declared', subject, data }, trx);
      await core.events.append('release.declared', { repository, channel, ...data }, trx);
    }
    await trx.updateTable('publications').set({ labels: text }).where('number', '=', number).execute();
  });
}
