import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Plugin } from 'esbuild';

export interface Bundle {
  /** The agent as one CommonJS file for Node 18 and newer. */
  code: string;
  /** Terms of the packages that are in it, as they ask to be passed on. */
  licences: string;
}

/**
 * Bundles the agent as it runs on a device: without native parts, without the virtual board, and without anything that
 * Debian 12's Node 18 lacks. The same sources give the same bytes, wherever the clone is.
 */
export async function bundleAgent(): Promise<Bundle> {
  // Loaded here: whoever only looks at a board should not wait for a bundler.
  const { build } = await import('esbuild');
  const root = join(import.meta.dirname, '../../../..');
  const result = await build({
    entryPoints: [join(import.meta.dirname, '../device/main.ts')],
    absWorkingDir: root,
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node18',
    format: 'cjs',
    // Names stay: a stack trace in somebody's journal has to be read.
    minifyWhitespace: true,
    minifySyntax: true,
    treeShaking: true,
    legalComments: 'none',
    metafile: true,
    logLevel: 'silent',
    plugins: [withoutVirtualBoard, withoutLocales],
  });
  const code = result.outputFiles[0]?.text ?? '';
  return { code, licences: await licencesOf(root, Object.keys(result.metafile.inputs)) };
}

/** A device is no virtual board, and the engine that one is made of has native parts. */
const withoutVirtualBoard: Plugin = {
  name: 'without-virtual-board',
  setup(build) {
    build.onLoad({ filter: /[\\/]virtual-board[\\/]virtual-board\.ts$/ }, () => ({
      contents: `import { AgentError } from '../../errors.ts';
        export function createVirtualBoard() {
          throw new AgentError('invalid', 'this agent runs on devices: a virtual board needs "treeline agent"');
        }`,
      loader: 'ts',
    }));
  },
};

/** Half of zod is its messages in other languages. */
const withoutLocales: Plugin = {
  name: 'without-locales',
  setup(build) {
    build.onLoad({ filter: /[\\/]zod[\\/]v4[\\/]locales[\\/]index\.js$/ }, () => ({
      contents: "export { default as en } from './en.js';",
      loader: 'js',
    }));
  },
};

/** The licence of every npm package that input files (relative to `root`) are from, sorted by name. */
async function licencesOf(root: string, inputs: readonly string[]): Promise<string> {
  const folders = inputs.flatMap((path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(path)?.[0] ?? []);
  const parts: string[] = [];
  for (const folder of [...new Set(folders)].sort()) {
    const { name, version } = JSON.parse(await readFile(join(root, folder, 'package.json'), 'utf8')) as {
      name: string;
      version: string;
    };
    const file = (await readdir(join(root, folder))).sort().find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? '' : await readFile(join(root, folder, file), 'utf8');
    parts.push(`${name} ${version}\n\n${text.trim()}\n`);
  }
  return parts.join(`\n${'-'.repeat(78)}\n\n`);
}
