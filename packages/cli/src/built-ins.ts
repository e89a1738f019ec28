import type { BuiltInMakers } from '@treeline/server';

/** What comes with Treeline, as the server takes it: each is loaded and made when a pipeline names it. */
export const builtIns: BuiltInMakers = {
  agent: async (folder) => (await import('@treeline/agent')).buildAgentLayer(folder),
  boot: async (folder) => (await import('@treeline/board')).writeBootLayers(folder),
  tools: async (folder) => (await import('@treeline/board')).buildToolsLayer(folder),
};
