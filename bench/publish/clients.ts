import { startNginx } from '../../e2e/testing/nginx.ts';
import type { Fixtures } from '../engine/fixtures.ts';
import { assertSameTree, newRepository } from '../engine/peers.ts';
import type { Command } from '../suite.ts';

const CLIENTS = '8 stock clients pull at once';
const COUNT = 8;

/** The same clients pull the same folder, from Treeline's server and from nginx. */
export async function measureClients(fixtures: Fixtures): Promise<void> {
  const { bench } = fixtures;
  if (!bench.wants(CLIENTS)) return;
  const repository = await fixtures.committed();
  const ours = await fixtures.serve(repository);
  const nginx = await startNginx(
    fixtures.path('nginx-folder'),
    `sendfile on; tcp_nopush on; access_log off; server { listen 127.0.0.1:PORT; root ${repository}; }`,
  );
  bench.atEnd(() => nginx.stop());
  const places = Array.from({ length: COUNT }, (_, index) => fixtures.path(`client-${index}`));
  const before = (remote: string) => async () => {
    for (const place of places) await newRepository(bench, place, { mode: 'archive', remote });
  };
  const script =
    'pids=; for repo; do ostree pull --repo="$repo" origin main & pids="$pids $!"; done; for pid in $pids; do wait "$pid" || exit 1; done';
  const command: Command = ['sh', '-c', script, 'sh', ...places];
  await bench.measure({
    name: CLIENTS,
    peer: 'nginx on the folder',
    goal: 0.87, // 1 / 1.15
    ours: { command, before: before(ours) },
    theirs: { command, before: before(nginx.url) },
    check: () => assertSameTree(bench, 'origin:main', [places[0]!, places[COUNT - 1]!]),
  });
}
