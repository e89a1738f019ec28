import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MAX_LOG_CHUNK } from '../protocol.ts';
import { createJobLog } from './log.ts';

test('whatever bytes come in whatever pieces, the pieces sent join to their text, at the right offsets', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.oneof(
          fc.uint8Array({ maxLength: 20 }),
          fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
        ),
      ),
      async (pieces) => {
        const log = createJobLog();
        let sent = '';
        for (const piece of pieces) {
          await log.write(piece);
          const { text, offset } = log.peek();
          assert.equal(offset, Buffer.byteLength(sent));
          sent += text;
          log.acknowledge(text);
        }
        log.end();
        sent += log.peek().text;
        assert.equal(sent, Buffer.concat(pieces).toString('utf8'));
      },
    ),
  );
});

test('a piece is no longer than allowed and does not cut a character', async () => {
  const log = createJobLog();
  await log.write(Buffer.from(`x${'🤖'.repeat(MAX_LOG_CHUNK / 2)}`));
  const { text } = log.peek();
  assert.equal(text.length, MAX_LOG_CHUNK - 1);
  log.acknowledge(text);
  assert.equal(log.peek().text, '🤖');
});

test('a job waits while its log does not get away, and no longer once it is discarded', async () => {
  const log = createJobLog();
  let through = false;
  const writing = log.write(Buffer.alloc(5 * 1024 ** 2, 'x')).then(() => {
    through = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(through, false);
  log.discard();
  await writing;
  await log.write(Buffer.from('more'));
  assert.equal(log.empty, true);
});

test('a log that is too long says that its rest is left out', async () => {
  const log = createJobLog(2 * 1024 ** 2);
  for (let i = 0; i < 5; i++) await log.write(Buffer.alloc(700_000, 'x'));
  let text = '';
  while (!log.empty) {
    const piece = log.peek().text;
    text += piece;
    log.acknowledge(piece);
  }
  assert.ok(text.length < 2_200_000);
  assert.match(text, /longer than 2 MiB: the rest is left out\n$/);
});

test("the runner's own lines are lines, also in the middle of what a board prints", async () => {
  const log = createJobLog();
  log.note('first');
  await log.write(Buffer.from('board login: '));
  log.note('second');
  log.note('third');
  assert.equal(log.peek().text, 'treeline: first\nboard login: \ntreeline: second\ntreeline: third\n');
});
