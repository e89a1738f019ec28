import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startNginx } from '../../e2e/testing/nginx.ts';
import type { Bench } from '../suite.ts';

/**
 * What a stock client that has one release fetches for the next one: bytes of objects and deltas, as the web server has
 * logged them. Refs, summary and configuration are left out, as they are in what the agent reports.
 */
export async function stockBytes(bench: Bench, o: { repo: string; from: string; to: string }): Promise<number> {
  const folder = join(bench.scratch, 'stock');
  const nginx = await startNginx(
    folder,
    "log_format bytes '$uri $body_bytes_sent'; access_log FOLDER/access.log bytes; server { listen 127.0.0.1:PORT; root ROOT; }".replace(
      'ROOT',
      o.repo,
    ),
  );
  bench.atEnd(() => nginx.stop());
  const client = join(folder, 'client');
  await bench.prepare('ostree', 'init', `--repo=${client}`, '--mode=bare-user');
  await bench.prepare('ostree', 'remote', 'add', `--repo=${client}`, '--no-gpg-verify', 'origin', nginx.url);
  const pull = (commit: string) => bench.prepare('ostree', 'pull', `--repo=${client}`, 'origin', commit);
  const total = () =>
    readFileSync(join(folder, 'access.log'), 'utf8')
      .split('\n')
      .filter((line) => /^\/(objects|deltas)\//.test(line))
      .reduce((sum, line) => sum + Number(line.split(' ')[1]), 0);
  await pull(o.from);
  const before = total();
  await pull(o.to);
  return total() - before;
}
