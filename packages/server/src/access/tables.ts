export interface SecretTable {
  /** `admin` or `runner`. */
  name: string;
  /** sha256 of the token's text, hex. The token itself is only in a file of the data folder. */
  hash: string;
  created_at: number;
}

export interface AccessTables {
  secrets: SecretTable;
}
