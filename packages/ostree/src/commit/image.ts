import { OstreeError } from '../errors.ts';
import type { Tree } from '../formats/object-name.ts';
import type { Transaction } from '../repo/transaction.ts';
import type { ModifierOptions } from './modifier.ts';

export interface WriteImageOptions extends ModifierOptions {
  /** Which image of an index with several to take: `linux/arm64` or `linux/arm/v7`. */
  platform?: string;
}

/** Stores the root file system of a container image. */
export async function writeImage(_tx: Transaction, path: string, _options: WriteImageOptions = {}): Promise<Tree> {
  throw new OstreeError('unsupported', `${path}: container images cannot be read yet`);
}
