import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { OstreeError } from '../errors.ts';
import { type ResponseHead, ResponseParser } from './response-parser.ts';

interface Heard {
  heads: ResponseHead[];
  body: string;
  ends: boolean[];
}

/** Feeds pieces to a parser that waits for one answer. */
function hear(
  pieces: Buffer[],
  { method = 'GET', close = false }: { method?: 'GET' | 'HEAD'; close?: boolean } = {},
): Heard {
  const heard: Heard = { heads: [], body: '', ends: [] };
  const parser = new ResponseParser({
    onHead: (head) => heard.heads.push(head),
    onBody: (piece) => {
      heard.body += piece.toString('latin1');
    },
    onEnd: (reusable) => heard.ends.push(reusable),
  });
  parser.begin(method);
  for (const piece of pieces) parser.push(piece);
  if (close) parser.close();
  return heard;
}

const text = (...lines: string[]) => Buffer.from(lines.join('\r\n'), 'latin1');
const whole = (answer: Buffer, options = {}) => hear([answer], options);

const answers = {
  length: text('HTTP/1.1 200 OK', 'Content-Length: 5', 'ETag: "x"', '', 'hello'),
  chunked: text(
    'HTTP/1.1 200 OK',
    'Transfer-Encoding: chunked',
    '',
    '3',
    'hel',
    '2;a=b',
    'lo',
    '0',
    'Trailer: x',
    '',
    '',
  ),
  nothing: text('HTTP/1.1 404', 'content-length: 0', '', ''),
  interim: text('HTTP/1.1 103 Early Hints', 'Link: x', '', 'HTTP/1.1 200 OK', 'Content-Length: 5', '', 'hello'),
};

test('answers are the same whatever pieces they come in', () => {
  for (const [name, answer] of Object.entries(answers)) {
    const at = whole(answer);
    assert.deepEqual([at.heads.length, at.ends], [1, [true]], name);
    if (name !== 'nothing') assert.equal(at.body, 'hello', name);
    fc.assert(
      fc.property(fc.array(fc.nat(answer.length), { maxLength: 8 }), (cuts) => {
        const places = [0, ...cuts.sort((a, b) => a - b), answer.length];
        const pieces = places.slice(1).map((end, index) => answer.subarray(places[index], end));
        assert.deepEqual(hear(pieces), at);
      }),
    );
    assert.deepEqual(hear([...answer].map((byte) => Buffer.from([byte]))), at, name);
  }
});

test('an answer without a length goes on until the connection closes, which cannot be used again', () => {
  const answer = text('HTTP/1.1 200 OK', '', 'hello');
  assert.deepEqual(whole(answer).ends, []);
  const heard = whole(answer, { close: true });
  assert.deepEqual([heard.body, heard.ends, heard.heads[0]!.length], ['hello', [false], null]);
});

test('a connection is kept as the answer says', () => {
  const kept = (line: string, version = '1.1') =>
    whole(text(`HTTP/${version} 200 OK`, 'Content-Length: 0', line, '', '')).ends[0];
  assert.equal(kept('X: y'), true);
  assert.equal(kept('Connection: close'), false);
  assert.equal(kept('Connection: foo, Close'), false);
  assert.equal(kept('X: y', '1.0'), false);
  assert.equal(kept('Connection: Keep-Alive', '1.0'), true);
});

test('what has no body has none, whatever it says about one', () => {
  assert.deepEqual(whole(text('HTTP/1.1 304 Not Modified', 'Content-Length: 5', '', '')).ends, [true]);
  assert.deepEqual(whole(text('HTTP/1.1 204 No Content', '', '')).ends, [true]);
  const head = whole(text('HTTP/1.1 200 OK', 'Content-Length: 5', '', ''), { method: 'HEAD' });
  assert.deepEqual([head.ends, head.heads[0]!.headers['content-length']], [[true], '5']);
});

test('an end that comes too early is told from one that is in time', () => {
  const early = { code: 'network', message: /Transferred a partial file: the connection closed after 2/ };
  assert.throws(() => whole(text('HTTP/1.1 200 OK', 'Content-Length: 5', '', 'he'), { close: true }), early);
  assert.throws(
    () => whole(text('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', '', '5', 'he'), { close: true }),
    early,
  );
  assert.throws(() => whole(Buffer.from('HTTP/1.1 200'), { close: true }), { code: 'network', message: /partial/ });
  assert.throws(() => whole(Buffer.alloc(0), { close: true }), { message: /without an answer/ });
  whole(answers.length, { close: true });
});

test('what is malformed or could be read in two ways is refused', () => {
  const bad: Record<string, Buffer> = {
    'not HTTP': text('SSH-2.0-OpenSSH_9.2', ''),
    HTML: text('<!DOCTYPE html>'),
    'another version': text('HTTP/2 200 OK', '', ''),
    'no status': text('HTTP/1.1 OK', '', ''),
    'a status of four digits': text('HTTP/1.1 2000 OK', '', ''),
    'another protocol': text('HTTP/1.1 101 Switching Protocols', 'Upgrade: x', '', ''),
    'two lengths': text('HTTP/1.1 200 OK', 'Content-Length: 5', 'Content-Length: 6', '', ''),
    'a negative length': text('HTTP/1.1 200 OK', 'Content-Length: -5', '', ''),
    'a length with a sign': text('HTTP/1.1 200 OK', 'Content-Length: +5', '', ''),
    'a hexadecimal length': text('HTTP/1.1 200 OK', 'Content-Length: 0x5', '', ''),
    'an enormous length': text('HTTP/1.1 200 OK', `Content-Length: ${'9'.repeat(30)}`, '', ''),
    'a length and chunks': text('HTTP/1.1 200 OK', 'Content-Length: 5', 'Transfer-Encoding: chunked', '', ''),
    'an unknown coding': text('HTTP/1.1 200 OK', 'Transfer-Encoding: gzip, chunked', '', ''),
    'a header without a colon': text('HTTP/1.1 200 OK', 'Hello', '', ''),
    'a header with a space before its colon': text('HTTP/1.1 200 OK', 'Content-Length : 5', '', ''),
    'a folded header': text('HTTP/1.1 200 OK', 'A: b', ' c', '', ''),
    'a bare line feed': text('HTTP/1.1 200 OK\nContent-Length: 5', '', ''),
    'a bare carriage return': text('HTTP/1.1 200 OK', 'A: b\rc', '', ''),
    'NUL in a header': text('HTTP/1.1 200 OK', 'A: b\0c', '', ''),
    'a head without end': Buffer.alloc(70_000, 'HTTP/1.1 200 OK\r\nA: '),
    'a chunk without a length': text('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', '', '', ''),
    'a chunk with a negative length': text('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', '', '-3', ''),
    'a chunk with an enormous length': text('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', '', 'f'.repeat(16), ''),
    'a chunk longer than it says': text('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', '', '3', 'hello', ''),
    'an extension without end': text('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', '', `3;${'x'.repeat(9000)}`),
    'trailers without end': text('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', '', '0', 'a: b\r\n'.repeat(9000)),
    'interim answers without end': Buffer.from('HTTP/1.1 100 Continue\r\n\r\n'.repeat(30)),
    'more than was asked for': Buffer.concat([answers.length, answers.length]),
  };
  for (const [name, answer] of Object.entries(bad)) {
    assert.throws(() => whole(answer), { code: 'network', message: /malformed/ }, name);
    assert.throws(() => hear([...answer].map((byte) => Buffer.from([byte]))), { code: 'network' }, name);
  }
});

test('no bytes make it hang, crash or say something that was not said', () => {
  const mutation = fc.record({
    at: fc.nat(120),
    remove: fc.nat(6),
    insert: fc.uint8Array({ maxLength: 6 }),
    close: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.constantFrom(...Object.values(answers)), mutation, (answer, { at, remove, insert, close }) => {
      const mutated = Buffer.concat([answer.subarray(0, at), insert, answer.subarray(at + remove)]);
      try {
        const heard = hear([mutated.subarray(0, 20), mutated.subarray(20)], { close });
        assert.ok(heard.heads.length <= 1 && heard.ends.length <= 1 && heard.body.length <= mutated.length);
        const { length } = heard.heads[0] ?? {};
        if (heard.ends.length === 1 && length !== null) assert.equal(heard.body.length, length);
      } catch (error) {
        assert.ok(error instanceof OstreeError, String(error));
      }
    }),
    { numRuns: 3000 },
  );
});
