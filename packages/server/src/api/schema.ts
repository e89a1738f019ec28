/**
 * Bodies of the REST API, request and response: a zod value and its type under one name. Times are ISO 8601 strings,
 * durations milliseconds, checksums 64 hex digits. Unknown keys in a request are refused.
 */
export * from './schema/commits.ts';
export * from './schema/labels.ts';
export * from './schema/projects.ts';
export * from './schema/releases.ts';
export * from './schema/repositories.ts';
export * from './schema/retention.ts';
export * from './schema/runs.ts';
export * from './schema/status.ts';
export * from './schema/values.ts';
