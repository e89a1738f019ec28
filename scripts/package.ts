import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { buildAgentLayer } from '@treeline/agent';

// `npm run package -- agent [FOLDER]`: the layer that devices need of the agent, laid out from / (.cache/treeline-agent).
//
// `npm run package`: makes packages/ostree/dist, which is @treeline/ostree as it is published, and a tarball of it. Node
// does not run TypeScript from node_modules, so that what is published is JavaScript with declarations, in a folder with
// a package.json of its own: in the clone the package stays what it is, sources that run without a build.

const root = join(import.meta.dirname, '..');
const source = join(root, 'packages/ostree');

/** Everything about the package but where its files are. */
interface Manifest {
  name: string;
  version: string;
  description: string;
  keywords: string[];
  license: string;
  engines: Record<string, string>;
  dependencies: Record<string, string>;
}

/** Builds the package into `folder` and returns the path of its tarball. Types are not checked here. */
export function makePackage(folder = join(source, 'dist')): string {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const tsc = join(root, 'node_modules/.bin/tsc');
  run(tsc, ['-p', join(source, 'tsconfig.build.json'), '--outDir', join(folder, 'lib'), '--noCheck']);
  const { name, version, description, keywords, license, engines, dependencies } = JSON.parse(
    readFileSync(join(source, 'package.json'), 'utf8'),
  ) as Manifest;
  const manifest = {
    ...{ name, version, description, keywords, license },
    type: 'module',
    engines,
    exports: { '.': { types: './lib/index.d.ts', default: './lib/index.js' }, './package.json': './package.json' },
    types: './lib/index.d.ts',
    files: ['lib'],
    sideEffects: false,
    dependencies,
  };
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  cpSync(join(source, 'README.md'), join(folder, 'README.md'));
  cpSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
  const packed = run('npm', ['pack', '--json', '--pack-destination', folder], folder);
  const [tarball] = JSON.parse(packed) as { filename: string }[];
  return join(folder, tarball!.filename);
}

function run(program: string, args: string[], cwd = root): string {
  return execFileSync(program, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

if (import.meta.main && process.argv[2] === 'agent') {
  const folder = resolve(process.argv[3] ?? join(root, '.cache/treeline-agent'));
  rmSync(folder, { recursive: true, force: true });
  await buildAgentLayer(folder);
  console.log(relative(process.cwd(), folder));
} else if (import.meta.main) {
  const tarball = makePackage();
  const publint = join(root, 'node_modules/.bin/publint');
  process.stdout.write(run(publint, ['run', '--strict', join(source, 'dist')]));
  console.log(`${relative(root, tarball)}\nTo publish: npm publish ${relative(root, tarball)}`);
}
