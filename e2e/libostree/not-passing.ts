/** Scripts of libostree's suite that do not pass with `treeline repo`, each with the reason. */
export const notPassing: Record<string, string> = {};
