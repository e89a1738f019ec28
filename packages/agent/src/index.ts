/** The update agent of a device: enrol it, then run it. */
export { type EnrolOptions, enrol } from './board/enrol.ts';
export type { Identity, Sysroot } from './board/identity.ts';
export { type AgentLoopOptions, type AgentOptions, runAgent, runOnce } from './cycle/agent.ts';
export { goBack, type Look, lookNow, pin } from './cycle/by-hand.ts';
export type { AgentProgress, CycleResult } from './cycle/cycle.ts';
export { type AgentStatus, agentStatus } from './cycle/status.ts';
export { AgentError, type AgentErrorCode } from './errors.ts';
export type { CheckResult } from './health/checks.ts';
export { buildAgentLayer } from './layer/layer.ts';
export type { BadRelease, State, StateKind } from './machine/index.ts';
export type { Transfer } from './state/schema.ts';
export { lookInWords } from './words/look.ts';
export { progressInWords, type Said } from './words/progress.ts';
export { type Field, statusInWords } from './words/status.ts';
