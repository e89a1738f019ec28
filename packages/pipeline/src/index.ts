/** treeline.yaml to a checked graph, cache keys and a plan. Pure: no I/O, no clock. */
export { BUILT_IN_PROJECT, BUILT_INS, type BuiltInName, isBuiltIn } from './built-in.ts';
export { type Diagnostic, PipelineError, type PipelineErrorCode } from './diagnostic/diagnostic.ts';
export { formatDiagnostics, type SourceText } from './diagnostic/format.ts';
export { buildGraph } from './graph/build.ts';
export type { Dependency, Graph, GraphJob, PublishStep } from './graph/graph.ts';
export { artifactReferences } from './graph/references.ts';
export type {
  BoardKeyDocument,
  ComposeKeyDocument,
  KeyDocument,
  KeyLayer,
  KeyPlatform,
  RunKeyDocument,
} from './key/document.ts';
export { explainKeys, type KeyDifference } from './key/explain.ts';
export { jobKey } from './key/key.ts';
export { admitsLabel, isLabel, type Label, labelForm } from './label/label.ts';
export {
  type ArtifactId,
  type ArtifactReference,
  artifactId,
  type BoardFault,
  type BoardJob,
  type ChannelReference,
  type CommandJob,
  type ComposeJob,
  type Image,
  type Input,
  type Job,
  type JobId,
  type JobReference,
  jobId,
  type Layer,
  type Output,
  type Pipeline,
  type Position,
  type Publish,
  type ReleaseDeclaration,
  type RunsOn,
  type Tree,
} from './model.ts';
export { matchPaths } from './paths/match.ts';
export { plan } from './plan/plan.ts';
export { type RunnerOffer, unmetDemands } from './plan/platform.ts';
export type {
  JobProgress,
  Plan,
  PlannedPublish,
  PlanState,
  PlanStep,
  PlatformPolicy,
  PublishProgress,
  ResultOutputs,
} from './plan/state.ts';
export { type Candidate, type Promotion, promotion, type Release } from './promotion/promotion.ts';
export { type ParseOptions, parsePipeline } from './schema/parse.ts';
