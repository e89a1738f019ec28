import { setTimeout as sleep } from 'node:timers/promises';
import type { Board } from '../drive/board.ts';
import { BoardError } from '../errors.ts';
import type { TrialReport } from './report.ts';
import {
  type Action,
  actionsOf,
  began,
  beginTrial,
  type DeviceView,
  FULL_DISK_LEAVES,
  look,
  type TrialSubject,
} from './trial.ts';

/** What a trial works with. */
export interface TrialTools {
  board: Board;
  /** What the server knows of the device; lets it run another commit first, if one is given. */
  look(target: string | undefined, signal: AbortSignal): Promise<DeviceView>;
  /** Makes the image of a commit that enrols the device, and answers its path. */
  makeImage(commit: string, signal: AbortSignal): Promise<string>;
  /** Told what is done, one line each. */
  note(line: string): void;
  signal: AbortSignal;
  /** Between looks. Default 1 s. */
  pollMs?: number;
}

/**
 * Tries a candidate on a board. A verdict is an answer, also a bad one.
 *
 * @throws BoardError `board-trouble` and others of the board; `not-possible` when it cannot suffer what is asked; what
 * `look` and `makeImage` throw; the signal's reason
 */
export async function runTrial(subject: TrialSubject, tools: TrialTools): Promise<TrialReport> {
  const { board } = tools;
  const note = (line: string): void => tools.note(line);
  const over = new AbortController();
  const signal = AbortSignal.any([tools.signal, over.signal]);
  const begun = performance.now();
  const impossible = subject.faults.filter((fault) => !board.faults.has(fault));
  if (impossible.length > 0) {
    throw new BoardError('not-possible', `the board ${board.name} cannot suffer ${impossible.join(', ')}`, {
      hint: `It can: ${[...board.faults].join(', ') || 'nothing of the kind'}. Its board file may say how.`,
    });
  }
  let trial = beginTrial(subject);
  const perform = async (action: Action): Promise<void> => {
    note(action.kind === 'flash' || action.kind === 'point' ? `${action.kind} ${action.commit}` : action.kind);
    switch (action.kind) {
      case 'flash':
        return await board.flash(await tools.makeImage(action.commit, signal), { signal });
      case 'point':
        await tools.look(action.commit, signal);
        return;
      case 'power-on':
        return await board.powerOn({ signal });
      case 'power-off':
        return await board.powerOff({ signal });
      case 'cut':
        return await board.cutPower({ signal });
      case 'fill':
        return await board.fillDisk(FULL_DISK_LEAVES, { signal });
      case 'free':
        return await board.fillDisk(null, { signal });
      case 'network-off':
        return await board.network('off', { signal });
      case 'network-on':
        return await board.network('on', { signal });
    }
  };

  /** Until there is a verdict. */
  const legs = async (): Promise<void> => {
    while (trial.verdict === null) {
      if (trial.since === null) {
        const leg = trial.legs[trial.at]!;
        note(`leg ${leg.name}: ${leg.target} is to be ${leg.expects}`);
        const actions = actionsOf(trial);
        const { boots } = board;
        for (const action of actions.slice(0, -1)) await perform(action);
        // Making and writing an image is not the board's time.
        trial = began(trial, await tools.look(undefined, signal), { boots });
        await perform(actions.at(-1)!);
      }
      await sleep(tools.pollMs ?? 1000, undefined, { signal });
      const step = look(trial, await tools.look(undefined, signal), board);
      const ended = step.trial.reports.length > trial.reports.length ? step.trial.reports.at(-1) : undefined;
      if (ended) note(`leg ${ended.name} ended after ${ended.seconds.toFixed(1)} s`);
      trial = step.trial;
      for (const action of step.actions) await perform(action);
    }
  };
  const running = legs();
  try {
    await Promise.race([running, board.trouble]);
  } finally {
    over.abort();
    // What was under way when the board had trouble has nothing to add.
    await running.catch(() => {});
  }
  return {
    version: 1,
    board: board.name,
    verdict: trial.verdict!,
    candidate: subject.candidate,
    production: subject.production,
    faults: subject.faults,
    legs: trial.reports,
    seconds: (performance.now() - begun) / 1000,
  };
}
