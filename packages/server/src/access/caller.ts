import { ServerError } from '../errors.ts';

/**
 * What somebody may want to do. The subject, where there is one, is a ref of the store for `push` and `force`,
 * `repository:channel` for `publish`, and the name of a private repository for reading it.
 */
export const ACTIONS = [
  /** See everything that the API shows, and fetch from the store and from private repositories. */
  'read',
  /** Start and cancel runs. */
  'run',
  /** Move a ref of the store forward, with a commit and its objects. */
  'push',
  /** Move a ref of the store whatever it holds. */
  'force',
  /** Put a label on a commit, or take one off. */
  'label',
  /** Make a commit the release of a channel; revert. */
  'publish',
  /** Enrol, change, point and remove devices. */
  'operate',
  /** Projects (whose pipelines may publish), repositories and their settings, tokens of others, retention. */
  'administer',
] as const;
export type Action = (typeof ACTIONS)[number];

/** Who asks, as the authentication found out. */
export interface Caller {
  /** For the audit log: `admin`, the name of a token, `runner`. */
  readonly name: string;
  /** A runner speaks the runner protocol and nothing else; nobody else speaks it. */
  readonly kind: 'person' | 'runner';
  /** Session of the embedded runner; null for everybody else. */
  readonly session: string | null;
  /** Remote address of the request; null when it did not come over a network. */
  readonly address: string | null;
  /** Id of the token that it came with; without one for the tokens in files of the data folder. */
  readonly token?: string;
  /**
   * Whether the caller may do it. Without a subject, of actions that have one: whether it may do so anywhere; whoever
   * learns what the subject is asks again. `read` without a subject is everything that the API shows.
   */
  may(action: Action, subject?: string): boolean;
}

/** @throws ServerError `forbidden` naming what the caller lacks. */
export function demand(caller: Caller, action: Action, subject?: string): void {
  if (caller.may(action, subject)) return;
  const what = subject === undefined ? action : `${action} ${subject}`;
  throw new ServerError('forbidden', `${caller.name} may not ${what}`, {
    hint: 'Ask whoever administers the server for a token that allows it: treeline token create.',
  });
}
