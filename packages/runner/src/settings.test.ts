import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runnerOptionsFromEnvironment, runnerSettings } from './settings.ts';

const needed = {
  TREELINE_SERVER: 'http://127.0.0.1:8420',
  TREELINE_RUNNER_TOKEN: 't',
  TREELINE_STORE: '/s',
  TREELINE_RUNNER_DIR: '/w',
};

test('the environment names server, token, store and work folder, and may say more', () => {
  assert.deepEqual(runnerOptionsFromEnvironment(needed), {
    server: 'http://127.0.0.1:8420',
    token: 't',
    store: '/s',
    workDir: '/w',
  });
  const more = runnerOptionsFromEnvironment({
    ...needed,
    TREELINE_EMULATE: 'gpu, aarch64,',
    TREELINE_UNSANDBOXED: '1',
    TREELINE_CONCURRENCY: '3',
    TREELINE_PARENT: '17',
  });
  assert.deepEqual(
    [more.emulate, more.unsandboxed, more.concurrency, more.parentPid],
    [['gpu', 'aarch64'], true, 3, 17],
  );
});

test('nothing but TREELINE_UNSANDBOXED=1 turns the sandbox off', () => {
  for (const value of ['', '0', 'true', 'no']) {
    assert.equal(
      runnerSettings(runnerOptionsFromEnvironment({ ...needed, TREELINE_UNSANDBOXED: value })).unsandboxed,
      false,
    );
  }
});

test('what is missing or makes no sense is named', () => {
  for (const name of Object.keys(needed)) {
    assert.throws(() => runnerOptionsFromEnvironment({ ...needed, [name]: '' }), {
      code: 'bad-settings',
      message: `${name} is not set`,
    });
  }
  assert.throws(() => runnerOptionsFromEnvironment({ ...needed, TREELINE_CONCURRENCY: 'many' }), {
    code: 'bad-settings',
  });
  const options = runnerOptionsFromEnvironment(needed);
  assert.throws(() => runnerSettings({ ...options, server: 'here' }), { code: 'bad-settings' });
  assert.throws(() => runnerSettings({ ...options, concurrency: 0 }), { code: 'bad-settings' });
});
