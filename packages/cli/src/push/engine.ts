/*
 * What a push needs of the engine, module by module: all that the package exports takes half a second to load, in which
 * a small push is done.
 */
export { type PushProgress, type PushStats, push } from '@treeline/ostree/push/push.ts';
export { readRef, resolveRev, setRef } from '@treeline/ostree/repo/refs.ts';
export { openRepo } from '@treeline/ostree/repo/repo.ts';
