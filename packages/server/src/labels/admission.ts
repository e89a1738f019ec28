import { admitsLabel, type Label } from '@treeline/pipeline';
import type { Core } from '../core.ts';
import { ServerError } from '../errors.ts';
import { declarationsOf } from './declared.ts';
import { type FoundLabel, LOST, type MetDeclaration, traceLabels } from './trace.ts';

/** A label of a published commit. */
export interface AdmittedLabel {
  label: Label;
  /** The way by which it came in, from the commit to what has it. */
  path: string[];
}

/** A declaration that let a commit in, and what it let pass. */
export interface UsedDeclaration extends MetDeclaration {
  passed: AdmittedLabel[];
}

/** Why a commit may be in a repository. */
export interface Admission {
  commit: string;
  labels: AdmittedLabel[];
  declared: UsedDeclaration[];
}

export interface AdmissionWish {
  repository: string;
  /** What the repository admits. */
  admits: readonly string[];
  commit: string;
  /** Run whose files count; null = what each project has now. */
  run: string | null;
}

/**
 * Guarantee 7: whether a commit may be published in a repository, by its labels and those of all that it was made from.
 *
 * @throws ServerError `unprocessable` naming what is not admitted, and through what it came in; its data is {refused}
 */
export async function admit(core: Core, wish: AdmissionWish): Promise<Admission> {
  const { commit, repository, admits } = wish;
  const deps = { db: core.db, origins: core.origins, defaultLabel: core.settings.defaultLabel };
  const declared = declarationsOf(core.db, { repository, run: wish.run });
  const { labels, met } = await traceLabels({ ...deps, declared }, commit);
  const refused = labels.filter(({ label }) => !admitsLabel(admits, label));
  if (refused.length > 0) throw refusal(repository, refused);
  const used: UsedDeclaration[] = [];
  for (const declaration of met) {
    // Only what would have been refused was let pass.
    const behind = await traceLabels(deps, declaration.commit);
    const passed = behind.labels
      .filter(({ label }) => !admitsLabel(admits, label))
      .map(({ label, path }) => ({ label, path: [...declaration.path, ...path.slice(1)] }));
    if (passed.length > 0) used.push({ ...declaration, passed });
  }
  return { commit, labels: labels.map(({ label, path }) => ({ label, path })), declared: used };
}

const SHOWN = 5;

function refusal(repository: string, refused: readonly FoundLabel[]): ServerError {
  const shown = refused.slice(0, SHOWN).map(wayOf).join('; ');
  const more = refused.length > SHOWN ? `; and ${refused.length - SHOWN} more` : '';
  const data = { refused: refused.map(({ label, path, commit }) => ({ label, path, commit })) };
  const [artifact = ''] = refused[0]!.path;
  const lost = refused.some(({ label }) => label === LOST);
  const hint = lost
    ? 'Make it anew, so that what it is made from is known.'
    : `Publish it where that is admitted (treeline repository set NAME admits=…), take the label off (treeline label), or let ` +
      `${artifact.includes('/') ? `the treeline.yaml of ${artifact.split('/')[0]}` : 'its project'} declare it under releases:.`;
  return new ServerError('unprocessable', `${repository} does not admit ${shown}${more}`, { hint, data });
}

/** `system/system <- vendor/drivers (restricted:nda)` */
function wayOf({ path, label }: AdmittedLabel): string {
  return `${path.join(' <- ')} (${label})`;
}
