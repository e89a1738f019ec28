import { type Commit, metadataValue, type Tree } from '@treeline/ostree';
import { z } from 'zod';

/** Name of the metadata entry that tells a built-in artifact: JSON of `BuiltInNote` as a string. */
export const BUILT_IN = 'treeline.built-in';

export const BuiltInNote = z.object({
  artifact: z.string().regex(/^[a-z-]+$/),
  /** Of the Treeline that it came with first. */
  version: z.string(),
});
export type BuiltInNote = z.infer<typeof BuiltInNote>;

/** Refs of the store below which built-in artifacts are. */
export const BUILT_IN_REFS = 'built-in';

/** Every version of one has a ref, since results name it. */
export function builtInRef(artifact: string, tree: Tree): string {
  return `${BUILT_IN_REFS}/${artifact}/${tree.contents}/${tree.meta}`;
}

/** What a commit says of itself. To be believed only if its ref is there: whoever pushes can write it, too. */
export function builtInOf({ metadata }: Pick<Commit, 'metadata'>): BuiltInNote | null {
  const text = metadataValue(metadata, BUILT_IN)?.value;
  if (typeof text !== 'string') return null;
  try {
    const parsed = BuiltInNote.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
