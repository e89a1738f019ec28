export type { RunnerErrorCode } from './errors.ts';
export { RunnerError } from './errors.ts';
export {
  BoardFault,
  BoardRequest,
  BoardView,
  BoardWork,
  CompleteRequest,
  FailureReason,
  HeartbeatRequest,
  HeartbeatResponse,
  JobImage,
  JobResult,
  JobSpec,
  Lease,
  LeaseRequest,
  LeaseResponse,
  MAX_LOG_CHUNK,
  ProtocolError,
  RUNNER_API_PATH,
  RUNNER_PROTOCOL,
  RunnerOffer,
  Tree,
  Usage,
} from './protocol.ts';
export { runRunner } from './runner.ts';
export type { RunnerOptions } from './settings.ts';
export { runnerOptionsFromEnvironment } from './settings.ts';
