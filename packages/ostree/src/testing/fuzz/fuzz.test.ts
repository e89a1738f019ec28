import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { scratchFolder } from '../scratch.ts';
import { feed, inputOf, strayFiles } from './run.ts';
import { loadTargets } from './target.ts';

const COUNTS = { memory: 250, disk: 12, network: 3 } as const;

test('whatever bytes come, they are accepted or refused by name, and nothing is written elsewhere', async (t) => {
  const base = scratchFolder(t);
  const scratch = { base, inside: join(base, 'inside') };
  mkdirSync(scratch.inside);
  const targets = await loadTargets(scratch);
  assert.equal(new Set(targets.map(({ name }) => name)).size, targets.length, 'names are unique');
  const corpus = join(import.meta.dirname, 'corpus');
  const known = new Set(targets.map(({ name }) => name));
  if (existsSync(corpus))
    for (const name of readdirSync(corpus)) assert.ok(known.has(name), `corpus of no target: ${name}`);
  for (const target of targets) {
    await t.test(target.name, async () => {
      for (const [index, sample] of target.samples.entries()) {
        const { accepted, fault } = await feed(target, sample);
        assert.ok(accepted, `sample ${index}: ${fault?.what ?? 'refused'}`);
      }
      // What was found once stays found.
      const folder = join(corpus, target.name);
      for (const name of existsSync(folder) ? readdirSync(folder) : []) {
        const { fault } = await feed(target, readFileSync(join(folder, name)));
        assert.equal(fault?.what, undefined, join(folder, name));
      }
      for (let index = 0; index < COUNTS[target.cost]; index++) {
        const { fault } = await feed(target, inputOf(target, 'test', index));
        assert.equal(fault, null, `input ${index}: ${fault?.what} for ${fault?.input.toString('hex').slice(0, 400)}`);
      }
      assert.deepEqual(strayFiles(scratch), []);
      await target.close?.();
    });
  }
});
