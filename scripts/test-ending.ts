import { after } from 'node:test';
import { isMainThread } from 'node:worker_threads';

// Loaded before each test file. A test that has run out of its time fails, but what it waits for in a loop, or what it
// started and never ended, keeps its file's process alive: node:test would wait for that for ever, and with it all the
// others. So a file whose tests are all done has a minute to end by itself.

const graceMs = 60_000;

// The processes and threads that a test starts may inherit the flag that loads this.
if (isMainThread && process.env.NODE_TEST_CONTEXT === 'child-v8' && process.argv[1]?.endsWith('.test.ts')) {
  after(() => {
    const timer = setTimeout(() => {
      const open = process.getActiveResourcesInfo().filter((name) => name !== 'PipeWrap');
      console.error(`All tests are done, and something still runs after ${graceMs / 1000} s: ${open.join(', ')}`);
      process.exit(1);
    }, graceMs);
    timer.unref();
  });
}
