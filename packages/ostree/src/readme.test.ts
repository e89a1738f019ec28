import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import ts from 'typescript';
import { scratchFolder } from './testing/scratch.ts';

const own = join(import.meta.dirname, '..');
const root = join(own, '../..');

/**
 * The TypeScript of the README as one program: its examples go on from one another. Imports, which each example shows
 * anew, come first.
 */
function program(markdown: string): string {
  const blocks = [...markdown.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code!);
  assert.ok(blocks.length > 8, `${blocks.length} examples`);
  const importing = /^import \{([^}]+)\} from '([^']+)';\n/gm;
  const names = new Map<string, Set<string>>();
  for (const [, list, from] of blocks.join('\n').matchAll(importing)) {
    const known = names.get(from!) ?? new Set();
    for (const name of list!.split(',')) if (name.trim() !== '') known.add(name.trim());
    names.set(from!, known);
  }
  const imports = [...names].map(([from, known]) => `import { ${[...known].join(', ')} } from '${from}';\n`);
  return [...imports, ...blocks.map((code) => code.replace(importing, ''))].join('\n');
}

test('the examples of the README have the right types, and run', async (t) => {
  const folder = scratchFolder(t);
  const file = join(folder, 'readme.ts');
  writeFileSync(file, program(readFileSync(join(own, 'README.md'), 'utf8')));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  mkdirSync(join(folder, 'node_modules/@treeline'), { recursive: true });
  symlinkSync(own, join(folder, 'node_modules/@treeline/ostree'));
  for (const name of ['@types', 'undici-types']) {
    symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
  }

  await t.test('types', () => {
    // As a program checks one file: of the package only what the examples use is looked at.
    const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), (path) => readFileSync(path, 'utf8')) as {
      config: { compilerOptions: object };
    };
    const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, root);
    const examples = ts.createProgram([file], options);
    const found = ts.getPreEmitDiagnostics(examples, examples.getSourceFile(file));
    const lines = found.map(({ messageText, start = 0 }) => {
      const line = examples.getSourceFile(file)!.getLineAndCharacterOfPosition(start).line;
      return `${readFileSync(file, 'utf8').split('\n')[line]}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
    });
    assert.deepEqual(lines, []);
  });

  await t.test('run', () => {
    for (const name of ['etc', 'usr/bin', 'usr/share/doc', 'var/cache']) {
      mkdirSync(join(folder, 'rootfs', name), { recursive: true });
    }
    writeFileSync(join(folder, 'rootfs/etc/motd'), 'Welcome\n');
    writeFileSync(join(folder, 'rootfs/usr/bin/tool'), 'x'.repeat(100_000), { mode: 0o755 });
    writeFileSync(join(folder, 'rootfs/usr/share/doc/readme'), 'doc\n');
    cpSync(join(folder, 'rootfs'), join(folder, 'board'), { recursive: true });
    writeFileSync(join(folder, 'board/etc/motd'), 'Welcome, board\n');
    mkdirSync(join(folder, 'app'));
    writeFileSync(join(folder, 'app/run'), '#!/bin/sh\n', { mode: 0o755 });
    execFileSync('tar', ['-cf', 'app.tar', '-C', 'app', '.'], { cwd: folder });
    const { status, stdout, stderr } = spawnSync(process.execPath, [file], { cwd: folder, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    for (const line of [/^removed \/usr\/share\/doc/m, /^-Welcome$\n^\+Welcome, board$/m, /^ed25519: /m]) {
      assert.match(stdout, line);
    }
    assert.match(stderr, /not-found nowhere: /);
    assert.equal(readFileSync(join(folder, 'out/etc/motd'), 'utf8'), 'Welcome\n');
  });
});
