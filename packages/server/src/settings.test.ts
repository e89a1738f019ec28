import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isLoopback, loadSettings, settingsFromEnvironment } from './settings.ts';
import { settingsFromFile } from './settings-file.ts';
import { scratch } from './testing/scratch.ts';

const dataDir = '/tmp/treeline-settings-test';

test('later fragments win, undefined says nothing, and the result is frozen', () => {
  const settings = loadSettings({ dataDir, port: 1 }, { port: 2, pollSeconds: 1 }, { port: undefined });
  assert.equal(settings.port, 2);
  assert.equal(settings.pollSeconds, 1);
  assert.equal(settings.database, `sqlite:${dataDir}/treeline.db`);
  assert.ok(Object.isFrozen(settings));
});

test('a file in the data folder sets what no option sets; one that makes no sense is told by its name', (t) => {
  const folder = scratch(t);
  const file = join(folder, 'settings.json');
  assert.deepEqual(settingsFromFile(folder), {});
  writeFileSync(file, '{"unusedDays": 90, "pollSeconds": 2}');
  const settings = loadSettings({ dataDir: folder }, settingsFromFile(folder), { pollSeconds: 3 });
  assert.deepEqual([settings.unusedDays, settings.pollSeconds], [90, 3]);
  for (const text of ['{', '[]', 'null', '{"dataDir": "/elsewhere"}']) {
    writeFileSync(file, text);
    assert.throws(() => settingsFromFile(folder), { code: 'settings-invalid', message: /settings\.json/ });
  }
  writeFileSync(file, '{"unusedDay": 90}');
  assert.throws(() => loadSettings({ dataDir: folder }, settingsFromFile(folder)), /unusedDay/);
});

test('an unknown or wrong key is an error that names it', () => {
  const bad = (fragment: object) => () => loadSettings({ dataDir }, fragment);
  assert.throws(bad({ prot: 1 }), { code: 'settings-invalid', message: /prot/ });
  assert.throws(bad({ port: 70_000 }), { code: 'settings-invalid', message: /port/ });
  assert.throws(bad({ port: '1' }), { code: 'settings-invalid', message: /port/ });
  assert.throws(bad({ publicRepositories: ['../x'] }), { code: 'settings-invalid', message: /publicRepositories/ });
  assert.throws(() => loadSettings({}), { code: 'settings-invalid', message: /data folder/ });
});

test('other addresses than loopback are refused unless asked for, and the error says how', () => {
  for (const host of ['0.0.0.0', '::', '192.168.1.2', 'example.org', '127.0.0.1.example.org']) {
    assert.throws(
      () => loadSettings({ dataDir, host }),
      (error: Error & { hint?: string }) => {
        assert.match(error.message, /other machines/);
        assert.match(error.hint ?? '', /allowRemote/);
        return true;
      },
    );
    assert.equal(loadSettings({ dataDir, host, allowRemote: true }).host, host);
  }
  for (const host of ['127.0.0.1', '127.9.9.9', '::1', 'localhost']) assert.ok(isLoopback(host));
});

test('a heartbeat that is too slow for its lease is refused', () => {
  assert.throws(() => loadSettings({ dataDir, heartbeatSeconds: 20, leaseSeconds: 30 }), { code: 'settings-invalid' });
});

test('the environment gives the data folder and the database', () => {
  const fragment = settingsFromEnvironment({ TREELINE_DATA: '/d', TREELINE_DATABASE: 'postgres://x', OTHER: '1' });
  assert.deepEqual(fragment, { dataDir: '/d', database: 'postgres://x' });
});
