import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseEvents, type ServerEvent } from './events.ts';

async function collect(chunks: string[]): Promise<ServerEvent[]> {
  const events: ServerEvent[] = [];
  const stream = (async function* () {
    yield* chunks;
  })();
  for await (const event of parseEvents(stream)) events.push(event);
  return events;
}

const stream =
  ': hello\n\nid: 7\nevent: run.started\ndata: {"run":3}\n\nid: 8\r\nevent: job.passed\r\ndata: {"job":\r\ndata: "app/test"}\r\n\r\n';
const expected = [
  { id: '7', type: 'run.started', data: { run: 3 } },
  { id: '8', type: 'job.passed', data: { job: 'app/test' } },
];

test('events are the same however the network cuts them', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: stream.length }), { maxLength: 8 }), async (cuts) => {
      const places = [0, ...cuts.sort((a, b) => a - b), stream.length];
      const chunks = places.slice(1).map((end, index) => stream.slice(places[index], end));
      assert.deepEqual(await collect(chunks), expected);
    }),
  );
});

test('an event that is no JSON, or is cut off at the end, is skipped', async () => {
  assert.deepEqual(await collect(['data: <html>\n\ndata: {"a":1}\n\ndata: {"b"']), [
    { id: '', type: 'message', data: { a: 1 } },
  ]);
});
