import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeShim, runScript, suiteScripts } from './script.ts';

// `node e2e/libostree/main.ts [-v] [--stock] [SCRIPT…]`: runs libostree's installed tests with `treeline repo` in
// place of `ostree`, or with the stock tool.

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    verbose: { type: 'boolean', short: 'v', default: false },
    stock: { type: 'boolean', default: false },
    jobs: { type: 'string', short: 'j', default: '1' },
    timeout: { type: 'string', default: '300' },
  },
});
const folder = mkdtempSync(join(tmpdir(), 'libostree-suite-'));
const shim = values.stock ? null : join(folder, 'bin');
if (shim) makeShim(shim);
const names = positionals.length > 0 ? positionals.map(scriptName) : suiteScripts();
let passed = 0;
const waiting = [...names];
const worker = async () => {
  for (let name = waiting.shift(); name; name = waiting.shift()) {
    const logFile = join(folder, `${name}.log`);
    const result = await runScript(name, {
      shim,
      logFile,
      timeoutSeconds: Number(values.timeout),
      verbose: values.verbose,
    });
    if (result.outcome === 'passed' || result.outcome === 'skipped') passed++;
    const { outcome, checks, seconds } = result;
    console.log(`${outcome.padEnd(9)} ${name.padEnd(40)} ${String(checks).padStart(4)} checks ${seconds.toFixed(1)} s`);
    if (outcome !== 'passed' && outcome !== 'skipped' && !values.verbose) {
      const told = result.log.split('\n').filter((line) => line && !/^gpg-connect-agent|^OK closing/.test(line));
      console.log(`          ${told.slice(-4).join('\n          ')}\n          ${logFile}`);
    }
  }
};
await Promise.all(Array.from({ length: Number(values.jobs) }, worker));
console.log(`${passed} of ${names.length} passed (or skip themselves here); logs in ${folder}`);
process.exitCode = passed === names.length ? 0 : 1;

function scriptName(text: string): string {
  const name = text.startsWith('test-') ? text : `test-${text}`;
  return name.endsWith('.sh') ? name : `${name}.sh`;
}
