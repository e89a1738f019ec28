/** The gateway as a source of releases: where it is, and what proves both sides to each other. */
export interface Remote {
  /** `https://host:port`. */
  gateway: string;
  /** Files, as libostree wants them. */
  files: { cert: string; key: string; ca: string };
  /** PEM texts. */
  tls: { cert: string; key: string; ca: string };
  /** Check-in headers. */
  headers(): Record<string, string>;
}
