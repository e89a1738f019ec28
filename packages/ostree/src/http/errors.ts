import { OstreeError, systemCode } from '../errors.ts';

/** Worth another try: the network or the server failed, and nothing says that it will again. */
export class TransientError extends OstreeError {
  /** Milliseconds that the server asked to wait (Retry-After), or 0. */
  readonly waitMs: number;

  constructor(message: string, options: { cause?: unknown; waitMs?: number; hint?: string } = {}) {
    super('network', message, {
      cause: options.cause,
      hint:
        options.hint ??
        'Check the address and the connection; what was fetched is kept, and the same pull goes on from there.',
    });
    this.waitMs = options.waitMs ?? 0;
  }
}

/** Certificates do not get better by trying again. */
const FATAL = /^(?:ERR_TLS_|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|ERR_SSL_|EPROTO$|ERR_INVALID_|ERR_OSSL_)/;

/** Certificates that lead to no authority that we know. */
const UNTRUSTED = /^(?:DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+|CERT_UNTRUSTED)$/;
/** What OpenSSL makes of a server that answers in the clear. */
const NOT_TLS = /wrong version number|packet length too long|http request|unknown protocol/i;

/** Failures of TLS that somebody can do something about, in words; null for others. */
function tlsError(url: URL | string, code: string, reason: string | undefined, cause: unknown): OstreeError | null {
  if (UNTRUSTED.test(code)) {
    return new OstreeError('network', `${url}: the server's certificate is not trusted: ${reason}`, {
      cause,
      hint:
        'If the server has a certificate of its own authority, name that: ' +
        'tls-ca-path in the settings of the remote, or the option tls.ca (PEM).',
    });
  }
  if (code !== 'EPROTO' && !code.startsWith('ERR_SSL_')) return null;
  if (NOT_TLS.test(reason ?? '')) {
    return new OstreeError('network', `${url}: the server does not speak TLS on this port`, {
      cause,
      hint: 'Check the port; if the repository is served without TLS, its address begins with http://.',
    });
  }
  // "write EPROTO 40FD…:error:0A000410:SSL routines:ssl3_read_bytes:…:../deps/…c:905:SSL alert number 40"
  const told = /:SSL routines:[^:]*:([^:]+):/.exec(reason ?? '')?.[1];
  return told === undefined ? null : new OstreeError('network', `${url}: TLS failed: ${told}`, { cause });
}

/** An error of the network layer, as this package's own. */
export function networkError(url: URL | string, cause: unknown): OstreeError {
  if (cause instanceof OstreeError) return cause;
  const reason = cause instanceof Error ? cause.message || systemCode(cause) : String(cause);
  const message = `${url}: ${reason}`;
  const tls = tlsError(url, systemCode(cause) ?? '', reason, cause);
  if (tls) return tls;
  if (FATAL.test(systemCode(cause) ?? '')) return new OstreeError('network', message, { cause });
  return new TransientError(message, { cause });
}

/** An error of this folder, with what was asked for before its message. */
export function located(what: string, error: unknown): OstreeError {
  if (error instanceof TransientError) {
    const { message, cause, waitMs, hint } = error;
    return new TransientError(`${what}: ${message}`, { cause, waitMs, ...(hint === undefined ? {} : { hint }) });
  }
  if (!(error instanceof OstreeError)) return networkError(what, error);
  const { code, message, cause, hint } = error;
  return new OstreeError(code, `${what}: ${message}`, { cause, ...(hint === undefined ? {} : { hint }) });
}

/** An answer that is not HTTP, or HTTP that nobody can make sense of. */
export function malformed(what: string): OstreeError {
  return new OstreeError('network', `the answer is malformed: ${what}`, {
    hint: 'Check the address: is this a web server, and does nothing in between change what it sends?',
  });
}
