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
  /** Remote address, if it came over a network. */
  address: string | null;
  action: string;
  subject: string;
  /** JSON object. */
  data: string;
  created_at: number;
}

export interface AccessTables {
  secrets: SecretTable;
  audit: AuditTable;
}
