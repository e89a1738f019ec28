/**
 * Who may have a commit: `public` everybody, `internal` whoever belongs to the house, `restricted:<why>` whoever may
 * have just this. It belongs to a commit and its tree, and to whatever is made from it.
 */
export type Label = string;

const form = /^(public|internal|restricted:[^\s,:][^,\p{Cc}]*)$/u;
const longest = 200;

export function isLabel(text: string): boolean {
  return form.test(text) && text.length <= longest;
}

/** How labels are written, for messages. */
export const labelForm = 'public, internal, or restricted:<why>';

/**
 * Whether a repository takes in what has a label. `public` may go anywhere; `restricted` among what it admits stands
 * for every reason, `restricted:<why>` for that one.
 */
export function admitsLabel(admitted: readonly string[], label: Label): boolean {
  if (label === 'public' || admitted.includes(label)) return true;
  return label.startsWith('restricted:') && admitted.includes('restricted');
}
