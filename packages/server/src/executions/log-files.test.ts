import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { scratch } from '../testing/scratch.ts';
import { createLogFiles } from './log-files.ts';

test('a chunk that is sent again, or again and longer, changes nothing that was there', async (t) => {
  const logs = createLogFiles(scratch(t));
  await logs.write('x1', 0, 'grüße\n');
  await logs.write('x1', 0, 'grüße\nzwei\n');
  await logs.write('x1', 8, 'zwei\n');
  assert.equal(readFileSync(logs.path('x1'), 'utf8'), 'grüße\nzwei\n');
});

test('any way of cutting a log into repeated, overlapping chunks gives the same log', async (t) => {
  const logs = createLogFiles(scratch(t));
  let count = 0;
  await fc.assert(
    fc.asyncProperty(fc.string({ maxLength: 60 }), fc.array(fc.nat({ max: 60 })), async (text, cuts) => {
      const id = `x${count++}`;
      let sent = 0;
      for (const cut of cuts) {
        const end = Math.min(text.length, Math.max(sent, cut));
        const from = Math.min(cut, sent);
        await logs.write(id, Buffer.byteLength(text.slice(0, from)), text.slice(from, end));
        sent = end;
      }
      await logs.write(id, Buffer.byteLength(text.slice(0, sent)), text.slice(sent));
      assert.equal(readFileSync(logs.path(id), 'utf8'), Buffer.from(text).toString('utf8'));
    }),
    { numRuns: 50 },
  );
});

test('a gap is filled with a note, and what follows is at its place', async (t) => {
  const logs = createLogFiles(scratch(t));
  await logs.write('x1', 0, 'one\n');
  await logs.write('x1', 60, 'end\n');
  const text = readFileSync(logs.path('x1'), 'utf8');
  assert.match(text, /^one\n\n\[part of the log was lost\]\n\.+end\n$/);
  assert.equal(text.length, 64);
});

test('a new lease begins a new log and keeps the old one beside it', async (t) => {
  const logs = createLogFiles(scratch(t));
  await logs.begin('x1', 1);
  await logs.write('x1', 0, 'first');
  await logs.begin('x1', 2);
  assert.equal(await logs.size('x1'), 0);
  await logs.write('x1', 0, 'second');
  assert.equal(readFileSync(logs.path('x1'), 'utf8'), 'second');
  assert.equal(readFileSync(logs.path('x1').replace(/log$/, '1.log'), 'utf8'), 'first');
});
