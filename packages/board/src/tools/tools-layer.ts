import { chmod, cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const FILES = join(import.meta.dirname, 'files');

/**
 * Makes the built-in artifact `treeline/tools` in `folder`, which must be missing or empty: programs for jobs that make
 * systems. As an input named `tools` it is /in/tools, and `/in/tools/bin/ostreeify` is `treeline ostreeify`. The same
 * sources give the same bytes and modes.
 */
export async function buildToolsLayer(folder: string): Promise<void> {
  // Loaded here: who takes none of these tools should not wait for a bundler.
  const { build } = await import('esbuild');
  const result = await build({
    entryPoints: [join(import.meta.dirname, 'ostreeify-main.ts')],
    absWorkingDir: join(import.meta.dirname, '../../../..'),
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node18',
    format: 'cjs',
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    logLevel: 'silent',
  });
  const library = join(folder, 'lib/treeline');
  await cp(FILES, folder, { recursive: true });
  await mkdir(library, { recursive: true });
  await writeFile(join(library, 'ostreeify.js'), result.outputFiles[0]?.text ?? '');
  for (const path of ['', 'bin', 'lib', 'lib/treeline', 'bin/ostreeify']) await chmod(join(folder, path), 0o755);
  await chmod(join(library, 'ostreeify.js'), 0o644);
}
