import { unmetDemands } from '@treeline/pipeline';
import type { RunnerOffer } from '@treeline/runner';
import type { BoardTrial, ExecutionSpec } from './spec.ts';

/** Why a runner cannot take an execution; empty = it can. Composing is the server's own work: no runner takes it. */
export function unmetBy(spec: ExecutionSpec, offer: RunnerOffer): string[] {
  if (spec.work.kind === 'compose') return ['is composed by the server itself'];
  if (spec.work.kind === 'board') {
    const has = offer.boards ?? [];
    if (has.includes(boardOf(spec.work.trial))) return [];
    return [`needs ${boardText(spec.work.trial)}, the runner has ${has.length === 0 ? 'no boards' : has.join(', ')}`];
  }
  const unmet = unmetDemands(spec.work.platform, offer, { memoryBytes: spec.work.job.memoryBytes ?? null });
  return spec.work.job.root ? [...unmet, ...unmetForRoot(offer)] : unmet;
}

function unmetForRoot({ lacksForRoot }: RunnerOffer): string[] {
  if (lacksForRoot === null) return [];
  return [`cannot run jobs as root: ${lacksForRoot ?? 'this runner is of a version that knows none'}`];
}

/** What a runner must offer for a board job. */
export function boardOf(trial: Pick<BoardTrial, 'board'>): string {
  return 'name' in trial.board ? trial.board.name : 'qemu';
}

function boardText(trial: BoardTrial): string {
  return 'name' in trial.board ? `the board ${trial.board.name}` : `QEMU, which plays ${trial.board.file}`;
}

/** Why a queued execution waits, for people. */
export function whyItWaits(
  spec: ExecutionSpec,
  runners: readonly { offer: RunnerOffer; online: boolean; busy: boolean }[],
): string {
  if (spec.work.kind === 'compose') return 'the server composes it next';
  const online = runners.filter((runner) => runner.online);
  if (online.length === 0) return 'no runner is connected';
  const able = online.filter((runner) => unmetBy(spec, runner.offer).length === 0);
  if (able.length === 0 && spec.work.kind === 'board') return `no runner has ${boardText(spec.work.trial)}`;
  if (able.length === 0) {
    return online.map((runner) => `${runner.offer.name}: ${unmetBy(spec, runner.offer).join(', ')}`).join('; ');
  }
  const names = able.map((runner) => runner.offer.name).join(', ');
  return able.every((runner) => runner.busy) ? `${names}: busy with other jobs` : `${names}: about to take it`;
}
