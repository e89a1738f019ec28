import { OstreeError } from '../errors.ts';

/** A ref does not hold what the sender thought. */
export class PushConflict extends OstreeError {
  /** What it holds; null = there is no such ref. */
  readonly current: string | null;

  /** @internal */
  constructor(ref: string, current: string | null, message?: string) {
    const holds = current === null ? 'does not exist (any more)' : `holds ${current}`;
    super('conflict', message ?? `ref ${ref} ${holds}, which is not what the push was for`, {
      hint: 'Look at what is there; push again on top of it, or name it as what you expect, or use force.',
    });
    this.current = current;
  }
}
