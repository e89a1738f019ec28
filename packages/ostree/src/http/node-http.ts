/**
 * What this package needs of `node:http` when it runs. An `import` of that module evaluates all of its exports, two of
 * which load the whole of undici: 40 ms that each short command would pay for what it never uses.
 */
export const { Agent, createServer, request } = process.getBuiltinModule('node:http');
