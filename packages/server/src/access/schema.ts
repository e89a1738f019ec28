/** Bodies of the routes of tokens and of the audit log: a zod value and its type under one name. */
import { z } from '@hono/zod-openapi';
import { Time } from '../api/schema/values.ts';
import { ACTIONS } from './caller.ts';
import { Pattern } from './patterns.ts';
import { ROLE_NAMES } from './roles.ts';

const ActionName = z.enum(ACTIONS).openapi('Action');
const RoleName = z.enum(ROLE_NAMES).openapi('Role');

/** A token is named after what uses it: `ci`, `ada@example.org`. */
const TokenName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$/,
    'expected 1 to 63 letters, digits, ".", "_", "@" or "-", starting with a letter or digit',
  );

export const TokenCreate = z
  .strictObject({
    name: TokenName,
    role: RoleName.optional(),
    /** Actions beside those of the role. Neither: those of the token that it is made with. */
    allow: z.array(ActionName).min(1).max(ACTIONS.length).optional(),
    /** What it is for, as patterns of refs and REPOSITORY:CHANNEL. Default: what the token it is made with is for. */
    on: z.array(Pattern).min(1).max(100).optional(),
    /** Default: never, or with the token that it is made with; never later than that. */
    expiresSeconds: z.number().int().min(1).max(3_153_600_000).optional(),
    /** It has no text then, but stands for client certificates of this common name. */
    certificateName: z
      .string()
      .min(1)
      .max(64)
      .regex(/^[^\p{Cc}]+$/u, 'expected a common name without control characters')
      .optional(),
    /** Whether it outlives the token that it is made with; takes `administer`. */
    independent: z.boolean().optional(),
  })
  .openapi('TokenCreate');
export type TokenCreate = z.infer<typeof TokenCreate>;

export const Token = z
  .object({
    /** The first 8 digits after `tl_`. */
    id: z.string(),
    name: z.string(),
    /** As it was given; `actions` says what it comes to. */
    role: RoleName.nullable(),
    /** All that it allows, after what the tokens that it was made from allow. */
    actions: z.array(ActionName),
    /** Null: everywhere. */
    on: z.array(z.string()).nullable(),
    certificateName: z.string().nullable(),
    /** Name and id of the token that it was made with and ends with. */
    parent: z.object({ id: z.string(), name: z.string() }).nullable(),
    createdBy: z.string(),
    createdAt: Time,
    expiresAt: Time.nullable(),
    revokedAt: Time.nullable(),
    state: z.enum(['good', 'expired', 'revoked']),
    /** To a minute. */
    lastUsedAt: Time.nullable(),
    lastUsedFrom: z.string().nullable(),
  })
  .openapi('Token');
export type Token = z.infer<typeof Token>;
export const TokenList = z.object({ tokens: z.array(Token) });

export const MadeToken = Token.extend({
  /** What a client sends as `Authorization: Bearer …`. Shown only now; null for one that stands for certificates. */
  token: z.string().nullable(),
}).openapi('MadeToken');
export type MadeToken = z.infer<typeof MadeToken>;

export const RevokedTokens = z.object({
  /** Those that ended: it and all that were made from it. Empty when it had ended before. */
  revoked: z.array(Token),
});
export type RevokedTokens = z.infer<typeof RevokedTokens>;

export const WhoAmI = z
  .object({
    /** As the audit log names the caller. */
    name: z.string(),
    /** Null for the admin token in the data folder, which may everything. */
    token: Token.nullable(),
    actions: z.array(ActionName),
    on: z.array(z.string()).nullable(),
    /** Where the request came from, as the audit log has it. */
    address: z.string().nullable(),
  })
  .openapi('WhoAmI');
export type WhoAmI = z.infer<typeof WhoAmI>;

export const AuditEntry = z
  .object({
    id: z.number(),
    at: Time,
    /** Name of a token, `admin`, `server` for what happens by itself, or `nobody`. */
    actor: z.string(),
    /** Id of the token. */
    token: z.string().nullable(),
    address: z.string().nullable(),
    action: z.string(),
    subject: z.string(),
    data: z.record(z.string(), z.unknown()),
  })
  .openapi('AuditEntry');
export type AuditEntry = z.infer<typeof AuditEntry>;

export const AuditPage = z.object({
  /** Newest first. */
  entries: z.array(AuditEntry),
  /** `before` of the page that follows; null at the end. */
  next: z.number().nullable(),
});
export type AuditPage = z.infer<typeof AuditPage>;
