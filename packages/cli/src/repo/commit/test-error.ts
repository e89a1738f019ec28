import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { OstreeError } from '@treeline/ostree/errors.ts';
import type { Repo } from '@treeline/ostree/repo/repo.ts';

/**
 * libostree's own tests let a commit fail before it is through, and look for the folder in which what was written waits
 * for a second try in the same boot. A transaction of ours leaves nothing, so for them there is an empty one.
 */
export function failIfTested(repo: Repo): void {
  if (process.env.OSTREE_REPO_TEST_ERROR !== 'pre-commit') return;
  mkdtempSync(join(repo.path, 'tmp', `staging-${process.env.OSTREE_BOOTID ?? 'unknown'}-`));
  throw new OstreeError('io', 'OSTREE_REPO_TEST_ERROR_PRE_COMMIT specified');
}
