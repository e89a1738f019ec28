import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Client } from '../connection/client.ts';
import { release } from '../testing/answers.ts';
import { productionChannel } from './production.ts';
import type { Workspace } from './record.ts';

const serverWith = (channels: string[]): Client =>
  ({
    get: async () => ({
      releases: channels.map((channel, index) => ({ ...release(index + 1), channel, current: true })),
    }),
  }) as unknown as Client;
const workspaceOf = (channel: string | null) => ({ record: { channel } }) as Workspace;

test('production is the channel that the workspace came from, else the one that is set, else the only one', async () => {
  const several = serverWith(['robot/edge', 'robot/stable']);
  assert.equal(await productionChannel(several, workspaceOf('public:robot/beta'), {}), 'public:robot/beta');
  const set = { TREELINE_PRODUCTION: 'robot/stable' };
  assert.equal(await productionChannel(several, workspaceOf(null), set), 'public:robot/stable');
  assert.equal(await productionChannel(several, null, { TREELINE_PRODUCTION: 'other:robot/x' }), 'other:robot/x');
  assert.equal(await productionChannel(serverWith(['robot/edge']), null, {}), 'public:robot/edge');
  await assert.rejects(productionChannel(several, null, {}), {
    code: 'usage',
    hint: /public:robot\/edge, public:robot\/stable/,
  });
  await assert.rejects(productionChannel(serverWith([]), null, {}), { code: 'not-found' });
});
