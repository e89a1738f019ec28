import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { notPassing } from './not-passing.ts';
import { makeShim, runScript, suiteScripts } from './script.ts';

// libostree's own tests of its command line, with `treeline repo` in the place of `ostree`.

const folder = mkdtempSync(join(tmpdir(), 'libostree-suite-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const shim = join(folder, 'bin');
makeShim(shim);

describe("libostree's installed tests pass with treeline repo as ostree", { concurrency: 2 }, () => {
  for (const name of suiteScripts()) {
    const reason = notPassing[name];
    test(name, { ...(reason ? { skip: reason } : {}), timeout: 300_000 }, async (t) => {
      const result = await runScript(name, { shim, logFile: join(folder, `${name}.log`), timeoutSeconds: 280 });
      if (result.outcome === 'skipped') t.skip('skips itself here, with the stock tool too');
      else assert.equal(result.outcome, 'passed', `${name}:\n${result.log.split('\n').slice(-30).join('\n')}`);
    });
  }
});

test('what is said not to pass is in the suite, and is a minority', () => {
  const scripts = suiteScripts();
  for (const name of Object.keys(notPassing)) assert.ok(scripts.includes(name), name);
  assert.ok(scripts.length - Object.keys(notPassing).length >= 60);
});
