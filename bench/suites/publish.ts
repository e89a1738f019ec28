import { Fixtures } from '../engine/fixtures.ts';
import { measureClients } from '../publish/clients.ts';
import { measureFlip } from '../publish/flip.ts';
import { measurePush } from '../publish/push.ts';
import type { Bench, Suite } from '../suite.ts';

export const suite: Suite = { title: 'publish: Treeline as a repository server, against nginx, rsync and ostree', run };

async function run(bench: Bench): Promise<void> {
  const version = await bench.prepare('ostree', '--version');
  const fixtures = new Fixtures(bench, `ostree ${/Version: '?([\d.]+)/.exec(version)?.[1] ?? '?'}`);
  await measureFlip(fixtures);
  await measurePush(fixtures);
  await measureClients(fixtures);
}
