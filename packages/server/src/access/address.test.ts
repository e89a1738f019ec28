import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { clientKey, createAddressReader, Network } from './address.ts';

function read(trusted: string[], remoteAddress: string | undefined, forwarded?: string | string[]): string | null {
  const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded };
  return createAddressReader(trusted)({ socket: { remoteAddress }, headers } as unknown as IncomingMessage);
}

test('X-Forwarded-For is worth nothing from anybody who is no trusted proxy', () => {
  assert.equal(read([], '203.0.113.9', '10.0.0.1'), '203.0.113.9');
  assert.equal(read(['10.0.0.0/8'], '203.0.113.9', '10.0.0.1'), '203.0.113.9');
  assert.equal(read([], '::ffff:203.0.113.9'), '203.0.113.9');
  assert.equal(read([], undefined), null);
});

test('of trusted proxies it is read from the end, up to the first address that is none', () => {
  const trusted = ['127.0.0.1', '10.0.0.0/8', 'fd00::/8'];
  assert.equal(read(trusted, '127.0.0.1', '198.51.100.7'), '198.51.100.7');
  assert.equal(read(trusted, '::ffff:10.1.2.3', '1.1.1.1, 198.51.100.7, 10.9.9.9'), '198.51.100.7');
  assert.equal(read(trusted, 'fd00::1', ['1.1.1.1', '198.51.100.7']), '198.51.100.7');
  assert.equal(read(trusted, '127.0.0.1', '[2001:db8::5]:443'), '2001:db8::5');
  assert.equal(read(trusted, '127.0.0.1', '198.51.100.7:5555'), '198.51.100.7');
  // Only proxies: the farthest of them.
  assert.equal(read(trusted, '127.0.0.1', '10.0.0.1, 10.0.0.2'), '10.0.0.1');
});

test('what is no address ends the search at the last one that was good', () => {
  for (const junk of ['', ' ', 'unknown', '1.2.3', '198.51.100.7, ;drop', '\0', 'x'.repeat(10_000), ',,,,']) {
    assert.equal(read(['127.0.0.1'], '127.0.0.1', junk), '127.0.0.1', junk);
  }
});

test('one IPv6 customer counts as one client', () => {
  assert.equal(clientKey('203.0.113.9'), '203.0.113.9');
  assert.equal(clientKey('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64');
  assert.equal(clientKey('2001:db8:1:2:ffff::1'), '2001:db8:1:2::/64');
  assert.equal(clientKey('2001:db8::1'), clientKey('2001:db8:0:0:5::'));
  assert.notEqual(clientKey('2001:db8:1:2::1'), clientKey('2001:db8:1:3::1'));
  assert.equal(clientKey('fe80::1%eth0'), 'fe80:0:0:0::/64');
});

test('networks are checked when they are set', () => {
  for (const good of ['10.0.0.1', '10.0.0.0/8', '::1', 'fd00::/8']) assert.ok(Network.safeParse(good).success, good);
  for (const bad of ['', 'localhost', '10.0.0.0/33', '10.0.0/8', 'fd00::/129', '10.0.0.1/', '*']) {
    assert.ok(!Network.safeParse(bad).success, bad);
  }
});
