import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

/** A temporary folder that goes when the test ends. */
export function scratch(t: Pick<TestContext, 'after'>): string {
  const path = mkdtempSync(join(tmpdir(), 'treeline-server-'));
  t.after(() => rmSync(path, { recursive: true, force: true, maxRetries: 5 }));
  return path;
}
