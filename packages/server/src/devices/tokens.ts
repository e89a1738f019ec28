import { createHash, randomBytes } from 'node:crypto';
import type { Queryable } from '../database/open.ts';

const DEFAULT_SECONDS = 3600;
/** Expired tokens are kept this long, so that a late device gets a clear answer from the log, then removed. */
const KEEP_EXPIRED = 7 * 24 * 3600 * 1000;

export function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

/** Secret half of an enrolment token's text, `<secret>.<sha256 of the CA certificate>`; or of a bare secret. */
export function secretOf(token: string): string {
  return token.split('.')[0] ?? '';
}

export interface NewToken {
  expiresSeconds?: number | undefined;
  channel?: string | undefined;
  repository?: string | undefined;
  uses?: number | undefined;
}

export interface MadeToken {
  /** Shown once; only its hash is kept. */
  secret: string;
  expiresAt: number;
  uses: number;
  channel: string | null;
  repository: string;
}

/** Makes an enrolment token: 256 random bits. */
export async function createToken(db: Queryable, o: NewToken, now: number): Promise<MadeToken> {
  const secret = randomBytes(32).toString('base64url');
  const made = {
    secret,
    expiresAt: now + (o.expiresSeconds ?? DEFAULT_SECONDS) * 1000,
    uses: o.uses ?? 1,
    channel: o.channel ?? null,
    repository: o.repository ?? 'public',
  };
  await db
    .deleteFrom('enrolment_tokens')
    .where('expires_at', '<', now - KEEP_EXPIRED)
    .execute();
  await db
    .insertInto('enrolment_tokens')
    .values({
      hash: hashSecret(secret),
      created_at: now,
      expires_at: made.expiresAt,
      uses_left: made.uses,
      channel: made.channel,
      repository: made.repository,
    })
    .execute();
  return made;
}
