#!/usr/bin/env -S node --max-semi-space-size=4
// The flag keeps the nursery of the garbage collector small: most of what a commit or pull makes is garbage at once,
// and a large nursery would only take memory (120 MB of it) that small machines do not have.
//
// Treeline is TypeScript that Node 24 runs directly. Started by an older Node (a shell whose PATH lacks
// node_modules/.bin), this hands over to the Node 24 that the `node` package installed beside us.
import { spawnSync } from 'node:child_process';
import module from 'node:module';

if (Number(process.versions.node.split('.')[0]) < 24) {
  const node = module.createRequire(import.meta.url).resolve('node/bin/node');
  const { status, signal } = spawnSync(node, process.argv.slice(1), { stdio: 'inherit' });
  if (signal) process.kill(process.pid, signal);
  process.exit(status ?? 1);
}
module.enableCompileCache?.();
await import('../src/main.ts');
