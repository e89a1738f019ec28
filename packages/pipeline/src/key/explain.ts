import type { KeyDocument } from './document.ts';

/** `before` and `after` are short texts for people; null = absent. */
export type KeyDifference = {
  /** `command`, `inputs.app`, `environment.EPOCHS`, `platform.arch`, `layers[2]`, … */
  readonly field: string;
  readonly before: string | null;
  readonly after: string | null;
  readonly message: string;
};

export function explainKeys(_before: KeyDocument, _after: KeyDocument): KeyDifference[] {
  return [];
}
