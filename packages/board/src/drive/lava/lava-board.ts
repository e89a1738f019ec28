import { setTimeout as sleep } from 'node:timers/promises';
import { BoardError } from '../../errors.ts';
import type { Board } from '../board.ts';
import { fillIn, runScript } from '../command/script.ts';
import { createConsole } from '../console.ts';
import type { LavaDrive } from '../schema.ts';
import { watchSilence } from '../silence.ts';
import type { LavaClient } from './client.ts';
import { targetOutput } from './log.ts';

const POLL_MS = 5000;

/**
 * A device of a LAVA lab: it is on while a LAVA job has it. LAVA deploys and boots; the serial line is the job's log,
 * so nothing can be typed, and no power can be cut in the middle of a job.
 */
export function openLavaBoard(o: {
  name: string;
  drive: LavaDrive;
  client: LavaClient;
  log: string | null;
  /** Between looks at the job. Default 5 s. */
  pollMs?: number;
}): Board {
  const { drive, client, name } = o;
  const pollMs = o.pollMs ?? POLL_MS;
  const console = createConsole({ log: o.log });
  const trouble = Promise.withResolvers<never>();
  trouble.promise.catch(() => {});
  let flashed = false;
  let boots = 0;
  let job: { id: string; over: AbortController; followed: Promise<void> } | null = null;

  /** Reads the log of a running job until it has ended or is given up. */
  const follow = async (id: string, signal: AbortSignal): Promise<void> => {
    const silence = watchSilence(console, {
      ms: drive.silence,
      what: `${name} printed nothing`,
      onSilence: (error) => trouble.reject(error),
    });
    let lines = 0;
    try {
      while (!signal.aborted) {
        const { state, health } = await client.job(id, signal);
        const output = targetOutput(await client.log(id, signal), lines);
        lines = output.lines;
        if (output.text !== '') console.print(Buffer.from(output.text));
        if (state === 'Finished') {
          const results = await client.results(id, signal);
          const failed = results.filter(({ result }) => result === 'fail').map(({ suite, test }) => `${suite}.${test}`);
          const why = failed.length > 0 ? `; failed: ${failed.slice(0, 10).join(', ')}` : '';
          throw new BoardError(
            'board-trouble',
            `LAVA's job ${id} ended (${health}) while its device was in use${why}`,
            {
              hint: `${drive.server}/scheduler/job/${id}`,
            },
          );
        }
        await sleep(pollMs, undefined, { signal });
      }
    } catch (error) {
      if (!signal.aborted) trouble.reject(error);
    } finally {
      silence.stop();
    }
  };

  const waitUntilRunning = async (id: string, signal?: AbortSignal): Promise<void> => {
    const deadline = Date.now() + drive['queue-limit'];
    for (;;) {
      const { state, health } = await client.job(id, signal);
      if (state === 'Running') return;
      if (state === 'Finished')
        throw new BoardError('board-trouble', `LAVA's job ${id} ended before it ran: ${health}`);
      if (Date.now() > deadline) {
        throw new BoardError('board-trouble', `LAVA has had no device for job ${id} in time`, {
          hint: 'See the queue of its device type; `queue-limit` in the board file says how long it may take.',
        });
      }
      await sleep(pollMs, undefined, signal ? { signal } : {});
    }
  };
  const off = async (): Promise<void> => {
    const ending = job;
    job = null;
    if (ending === null) return;
    ending.over.abort();
    await ending.followed;
    await client.cancel(ending.id);
  };
  const cannot = (what: string): Promise<never> =>
    Promise.reject(new BoardError('not-possible', `${name} is LAVA's: its ${what}`, { hint: 'Leave out the fault.' }));

  return {
    name,
    console,
    faults: new Set(),
    host: drive.host ?? null,
    address: null,
    get isOn() {
      return job !== null;
    },
    get boots() {
      return boots;
    },
    trouble: trouble.promise,
    flash: async (image, { signal } = {}) => {
      if (job !== null) throw new BoardError('invalid', `${name} is on: it cannot be flashed`);
      await runScript(fillIn(drive.upload, { image, name }), {
        what: 'upload',
        limitMs: drive['upload-limit'],
        signal,
      });
      flashed = true;
    },
    powerOn: async ({ signal } = {}) => {
      if (job !== null) return;
      if (!flashed) throw new BoardError('invalid', `${name} has no image yet`, { hint: 'Flash it first.' });
      const id = await client.submit(drive.job.replaceAll('{image}', drive['image-url']), signal);
      console.note(`LAVA's job ${id}`);
      try {
        await waitUntilRunning(id, signal);
      } catch (error) {
        await client.cancel(id).catch(() => {});
        throw error;
      }
      boots++;
      const over = new AbortController();
      job = { id, over, followed: follow(id, over.signal) };
    },
    powerOff: off,
    cutPower: off,
    network: () => cannot('network cannot be taken away'),
    fillDisk: () => cannot('disk cannot be filled'),
    close: async () => {
      // A lab that does not answer ends the job by itself, at its time limit.
      await off().catch(() => {});
      await console.close();
    },
  };
}
