import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

// `npm run docs`: the API of packages/ostree as HTML, in .cache/docs. An export that is not documented is an error.

const root = join(import.meta.dirname, '..');
const { status } = spawnSync(
  join(root, 'node_modules/.bin/typedoc'),
  ['--options', 'packages/ostree/typedoc.json', ...process.argv.slice(2)],
  { cwd: root, stdio: 'inherit' },
);
process.exitCode = status ?? 1;
