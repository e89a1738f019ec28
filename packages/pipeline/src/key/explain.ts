import type { Tree } from '../model.ts';
import { canonicalJson } from './canonical.ts';
import type { BoardKeyDocument, ComposeKeyDocument, KeyDocument, KeyLayer, RunKeyDocument } from './document.ts';

/** One reason why two keys differ. */
export type KeyDifference = {
  /** `command`, `inputs.app`, `environment.EPOCHS`, `platform.arch`, `layers[2]`, … */
  readonly field: string;
  /** The whole value as text; null = absent. A tree is `contents.meta`. */
  readonly before: string | null;
  readonly after: string | null;
  /** For people, with long values cut short. */
  readonly message: string;
};

/** Names everything in which two key documents differ. Empty exactly if their keys are equal. */
export function explainKeys(before: KeyDocument, after: KeyDocument): KeyDifference[] {
  const differences: KeyDifference[] = [];
  if (before.version !== after.version) {
    differences.push(changed('version', 'version of the key', String(before.version), String(after.version)));
  }
  if (before.kind === 'run' && after.kind === 'run') differences.push(...explainRun(before, after));
  else if (before.kind === 'compose' && after.kind === 'compose') differences.push(...explainCompose(before, after));
  else if (before.kind === 'board' && after.kind === 'board') differences.push(...explainBoard(before, after));
  else differences.push(changed('kind', 'kind of job', before.kind, after.kind));
  if (differences.length === 0 && canonicalJson(before) !== canonicalJson(after)) {
    // A stored document may come from a version with fields that this one does not know.
    differences.push({
      field: 'document',
      before: canonicalJson(before),
      after: canonicalJson(after),
      message: 'the form of the key changed',
    });
  }
  return differences;
}

function explainRun(before: RunKeyDocument, after: RunKeyDocument): KeyDifference[] {
  return [
    ...explainCommand(before.command, after.command),
    ...explainImage(before.image, after.image),
    ...explainTree('source', 'source', before.source, after.source),
    ...namesOf(before.inputs, after.inputs).flatMap((name) =>
      explainTree(`inputs.${name}`, `input ${name}`, own(before.inputs, name), own(after.inputs, name)),
    ),
    ...explainTexts('environment', 'environment', before.environment, after.environment),
    ...explainText('platform.arch', 'architecture', before.platform.arch, after.platform.arch),
    ...explainText('platform.gpu', 'GPU', yesNo(before.platform.gpu), yesNo(after.platform.gpu)),
    ...explainList('platform.labels', 'labels of the runner', before.platform.labels, after.platform.labels),
    ...explainList('platform.emulated', 'what the runner emulates', before.platform.emulated, after.platform.emulated),
    ...explainText('network', 'network', yesNo(before.network), yesNo(after.network)),
    ...explainText('root', 'root', yesNo(before.root === true), yesNo(after.root === true)),
    ...explainTexts('outputs', 'output', before.outputs, after.outputs),
  ];
}

function explainCompose(before: ComposeKeyDocument, after: ComposeKeyDocument): KeyDifference[] {
  const differences = explainText('output', 'output', before.output, after.output);
  const length = Math.max(before.layers.length, after.layers.length);
  for (let i = 0; i < length; i++) {
    differences.push(...explainLayer(i, before.layers[i], after.layers[i]));
  }
  return differences;
}

function explainBoard(before: BoardKeyDocument, after: BoardKeyDocument): KeyDifference[] {
  return [
    ...explainText('board', 'board', before.board, after.board),
    ...explainTree('source', 'board file', before.source, after.source),
    ...explainTree('system', 'system', before.system, after.system),
    ...explainTree('over', 'release that it is tried over', before.over, after.over),
    ...explainList('faults', 'faults', before.faults, after.faults),
    ...explainText('treeline', 'version of Treeline', before.treeline, after.treeline),
  ];
}

function explainLayer(i: number, before: KeyLayer | undefined, after: KeyLayer | undefined): KeyDifference[] {
  if (canonicalJson(before ?? null) === canonicalJson(after ?? null)) return [];
  const field = `layers[${i}]`;
  const texts = {
    before: before ? layerText(before, treeText) : null,
    after: after ? layerText(after, treeText) : null,
  };
  const label = `layer ${i + 1}`;
  if (!before) return [{ field, ...texts, message: `${label} is new: ${layerText(after!, shortTree)}` }];
  if (!after) return [{ field, ...texts, message: `${label} is gone: ${layerText(before, shortTree)}` }];
  const trees = [treeOf(before), treeOf(after)] as const;
  const sameOtherwise = layerText(before, () => '') === layerText(after, () => '');
  if (sameOtherwise && trees[0] && trees[1] && 'at' in after) {
    return [{ field, ...texts, message: treeMessage(`${label} (at ${after.at})`, trees[0], trees[1]) }];
  }
  const message = `${label} changed: ${layerText(before, shortTree)} -> ${layerText(after, shortTree)}`;
  return [{ field, ...texts, message }];
}

function layerText(layer: KeyLayer, tree: (tree: Tree) => string): string {
  if ('remove' in layer) return `remove ${layer.remove}`;
  const [kind, value] = 'tree' in layer ? ['tree', layer.tree] : ['source', layer.source];
  return `${kind} ${tree(value)}${layer.from === '/' ? '' : ` from ${layer.from}`} at ${layer.at}`;
}

function treeOf(layer: KeyLayer): Tree | undefined {
  if ('tree' in layer) return layer.tree;
  return 'source' in layer ? layer.source : undefined;
}

function explainCommand(before: string, after: string): KeyDifference[] {
  if (before === after) return [];
  const [old, now] = [before.split('\n'), after.split('\n')];
  const line = old.findIndex((text, i) => text !== now[i]);
  const at = line < 0 ? old.length : line;
  const part = `in line ${at + 1}: ${quoted(old[at])} -> ${quoted(now[at])}`;
  return [{ field: 'command', before, after, message: `command changed ${part}` }];
}

function explainImage(before: RunKeyDocument['image'], after: RunKeyDocument['image']): KeyDifference[] {
  if ('tree' in before && 'tree' in after) return explainTree('image', 'image', before.tree, after.tree);
  if ('host' in before && 'host' in after) return explainText('image', 'image host', before.host, after.host);
  const text = (image: RunKeyDocument['image']) =>
    'host' in image ? `host ${image.host}` : `tree ${treeText(image.tree)}`;
  return [changed('image', 'image', text(before), text(after))];
}

function explainTree(
  field: string,
  label: string,
  before: Tree | null | undefined,
  after: Tree | null | undefined,
): KeyDifference[] {
  if (before && after) {
    if (before.contents === after.contents && before.meta === after.meta) return [];
    return [{ field, before: treeText(before), after: treeText(after), message: treeMessage(label, before, after) }];
  }
  if (after)
    return [{ field, before: null, after: treeText(after), message: `${label} is new: tree ${shortTree(after)}` }];
  if (before)
    return [{ field, before: treeText(before), after: null, message: `${label} is gone: tree ${shortTree(before)}` }];
  return [];
}

function treeMessage(label: string, before: Tree, after: Tree): string {
  if (before.contents === after.contents) {
    return `${label} changed: owner, mode or attributes of its root folder (${before.meta.slice(0, 8)}… -> ${after.meta.slice(0, 8)}…)`;
  }
  return `${label} changed: tree ${shortTree(before)} -> ${shortTree(after)}`;
}

function explainTexts(
  field: string,
  label: string,
  before: Readonly<Record<string, string>>,
  after: Readonly<Record<string, string>>,
): KeyDifference[] {
  return namesOf(before, after).flatMap((name) =>
    explainText(`${field}.${name}`, `${label} ${name}`, own(before, name) ?? null, own(after, name) ?? null),
  );
}

function explainList(
  field: string,
  label: string,
  before: readonly string[],
  after: readonly string[],
): KeyDifference[] {
  if (canonicalJson(before) === canonicalJson(after)) return [];
  const text = (list: readonly string[]) => (list.length === 0 ? 'nothing' : list.join(', '));
  return [changed(field, label, text(before), text(after))];
}

function explainText(field: string, label: string, before: string | null, after: string | null): KeyDifference[] {
  return before === after ? [] : [changed(field, label, before, after)];
}

function changed(field: string, label: string, before: string | null, after: string | null): KeyDifference {
  if (before === null) return { field, before, after, message: `${label} is new: ${cut(after)}` };
  if (after === null) return { field, before, after, message: `${label} is gone: ${cut(before)}` };
  return { field, before, after, message: `${label}: ${cut(before)} -> ${cut(after)}` };
}

function namesOf(before: object, after: object): string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
}

/** A name such as `constructor` must not find what every object inherits. */
function own<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

function treeText(tree: Tree): string {
  return `${tree.contents}.${tree.meta}`;
}

function shortTree(tree: Tree): string {
  return `${tree.contents.slice(0, 8)}…`;
}

function yesNo(value: boolean): string {
  return value ? 'yes' : 'no';
}

function quoted(line: string | undefined): string {
  return line === undefined ? 'nothing' : `"${cut(line.trim())}"`;
}

function cut(text: string | null): string {
  const symbols = [...(text ?? '')];
  return symbols.length <= 60 ? symbols.join('') : `${symbols.slice(0, 59).join('')}…`;
}
