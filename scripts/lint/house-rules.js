// ESLint rules for what is agreed in ARCHITECTURE.md and that no published rule knows.

import { basename, join, relative, resolve, sep } from 'node:path';

/** Which packages each package may import. One way only; ARCHITECTURE.md says why. */
const mayImport = {
  ostree: [],
  pipeline: [],
  runner: ['ostree', 'board'],
  agent: ['ostree'],
  board: ['ostree'],
  server: ['ostree', 'pipeline', 'runner'],
  cli: ['ostree', 'pipeline', 'runner', 'agent', 'board', 'server'],
};

/** Pure packages and the few node: modules that compute and touch nothing. Their tests may do more. */
const pure = { pipeline: ['crypto', 'util', 'buffer'] };

/**
 * Who takes modules of the engine by path. `treeline repo`: scripts call it hundreds of times, and loading the engine
 * whole takes three times as long as what most verbs do. `treeline push`: the same, after every small change. The agent:
 * what runs on a device is one file without native parts, and has neither room nor use for the engine whole.
 */
const mayGoDeep = {
  folders: [
    join('packages', 'cli', 'src', 'repo'),
    join('packages', 'cli', 'src', 'push'),
    join('packages', 'agent', 'src'),
  ],
  into: 'ostree',
};

const vagueNames = /^(utils?|common|helpers?|misc)$/;

const root = resolve(import.meta.dirname, '../..');

/** The package a file belongs to, or undefined outside packages/. */
function packageOf(path) {
  const [top, name] = relative(root, path).split(sep);
  return top === 'packages' ? name : undefined;
}

const importDirection = {
  meta: {
    type: 'problem',
    schema: [],
    messages: {
      unknown: 'packages/{{from}} is not in the table of scripts/lint/house-rules.js: say there what it may import.',
      leaves: "This path leaves packages/{{from}}. Import '@treeline/{{to}}', and export there what is needed.",
      outside: 'This path leaves packages/{{from}} for something that is no package: nothing there is shipped.',
      internals: "Packages use each other by path here: import '@treeline/{{to}}', and export there what is needed.",
      direction:
        '{{from}} must not import {{to}}; it may import {{allowed}} (ARCHITECTURE.md). Move the code to the lower package, or pass a function in.',
      deep: "Import '@treeline/{{to}}' itself: what is not exported from its index is its own business.",
      impure:
        "{{from}} is pure (ARCHITECTURE.md): no 'node:{{to}}' there. Take the value as an argument and do the effect in the caller.",
    },
  },
  create(context) {
    const from = packageOf(context.filename);
    const isTest = /\.test\.[jt]s$/.test(context.filename);
    // e2e, bench and scripts are outside the packages, and shipped to nobody either.
    const servesTests = isTest || from === undefined || /\/src\/testing\//.test(context.filename);
    if (from !== undefined && !Object.hasOwn(mayImport, from)) {
      return { Program: (node) => context.report({ node, messageId: 'unknown', data: { from } }) };
    }

    function check(source) {
      if (source?.type !== 'Literal' || typeof source.value !== 'string') return;
      const wanted = source.value;
      const report = (messageId, data = {}) => context.report({ node: source, messageId, data: { from, ...data } });
      if (wanted.startsWith('.')) {
        const path = resolve(context.filename, '..', wanted);
        const to = packageOf(path);
        if (to === from) return;
        // package.json and the like of the own package stay inside; e2e and bench name packages as users do.
        if (from === undefined) report('internals', { to });
        else if (to === undefined) report('outside');
        else report('leaves', { to });
        return;
      }
      if (wanted.startsWith('@treeline/')) {
        const [, to, ...rest] = wanted.split('/');
        const file = relative(root, context.filename);
        // What tests of several packages need (a GnuPG home, say) is the engine's, and shipped to nobody.
        const forTests = servesTests && rest[0] === 'testing';
        const deepAllowed =
          to === mayGoDeep.into && (forTests || mayGoDeep.folders.some((folder) => file.startsWith(folder + sep)));
        if (rest.length > 0 && !deepAllowed) report('deep', { to });
        else if (from !== undefined && to !== from && !mayImport[from].includes(to)) {
          report('direction', { to, allowed: mayImport[from].join(', ') || 'no other package' });
        }
        return;
      }
      if (from !== undefined && Object.hasOwn(pure, from) && !isTest && wanted.startsWith('node:')) {
        const to = wanted.slice('node:'.length);
        if (!pure[from].includes(to)) report('impure', { to });
      }
    }

    return {
      ImportDeclaration: (node) => check(node.source),
      ExportNamedDeclaration: (node) => check(node.source),
      ExportAllDeclaration: (node) => check(node.source),
      ImportExpression: (node) => check(node.source),
      TSImportType: (node) => check(node.source ?? node.argument?.literal),
      // Timers are globals: no import gives them away.
      'CallExpression[callee.name=/^(setTimeout|setInterval|setImmediate|fetch)$/]'(node) {
        if (from === undefined || !Object.hasOwn(pure, from) || isTest) return;
        context.report({ node, messageId: 'impure', data: { from, to: node.callee.name } });
      },
    };
  },
};

const fileName = {
  meta: {
    type: 'suggestion',
    schema: [],
    messages: { vague: "'{{name}}' says nothing about what is inside: a folder is a capability, a file is a noun." },
  },
  create(context) {
    return {
      Program(node) {
        const parts = relative(root, context.filename).split(sep);
        const names = [...parts.slice(0, -1), basename(context.filename).replace(/(\.test)?\.[a-z]+$/, '')];
        const name = names.find((one) => vagueNames.test(one));
        if (name) context.report({ node, messageId: 'vague', data: { name } });
      },
    };
  },
};

export const houseRules = { rules: { 'import-direction': importDirection, 'file-name': fileName } };
