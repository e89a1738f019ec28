import type { Role } from './roles.ts';

export interface SecretTable {
  /** `admin` or `runner`. */
  name: string;
  /** sha256 of the token's text, hex. The token itself is only in a file of the data folder. */
  hash: string;
  created_at: number;
}

/** A change, and who made it: see `AuditEntry`. */
export interface AuditTable {
  /** Grows by one in commit order. */
  id: number;
  actor: string;
  /** Id of the token that was used, if it was one of the table. */
  token: string | null;
  /** Remote address, if it came over a network. */
  address: string | null;
  action: string;
  subject: string;
  /** JSON object. */
  data: string;
  created_at: number;
}

export interface TokenTable {
  /** First digits of the token's text: see `token-text.ts`. */
  id: string;
  /** Belongs to one token that is not revoked. */
  name: string;
  role: Role | null;
  /** JSON array: actions beside those of the role. */
  actions: string;
  /** JSON array of patterns; null = everywhere. */
  patterns: string | null;
  /** sha256 of the text, hex; null for a token that is a certificate's name. */
  hash: string | null;
  /** Common name of client certificates that stand for the token. */
  certificate_name: string | null;
  /** The token that it was made with, and dies with. */
  parent: string | null;
  /** Name of the caller who made it. */
  created_by: string;
  created_at: number;
  /** Never later than the parent's. */
  expires_at: number | null;
  revoked_at: number | null;
  /** To a minute. */
  last_used_at: number | null;
  last_used_from: string | null;
}
export type TokenRow = TokenTable;

export interface AccessTables {
  secrets: SecretTable;
  audit: AuditTable;
  tokens: TokenTable;
}
