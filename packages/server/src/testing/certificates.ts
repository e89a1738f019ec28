import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Files of a certificate and its key, made by openssl as an administrator would. */
export interface CertificateFiles {
  cert: string;
  key: string;
}

/** An authority of its own, in a folder. */
export interface TestAuthority {
  /** Its certificate. */
  file: string;
  /** @param o.days negative: it has expired. */
  issue(name: string, o: { subject: string; altNames?: string; usage?: string; days?: number }): CertificateFiles;
}

export function createTestAuthority(folder: string, name = 'ca'): TestAuthority {
  const at = (file: string) => join(folder, file);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const file = at(`${name}.pem`);
  openssl('req', '-x509', ...key, '-keyout', at(`${name}.key`), '-out', file, '-subj', `/CN=${name}`, '-days', '30');
  return {
    file,
    issue(own, { subject, altNames, usage = 'serverAuth', days = 10 }) {
      const files = { cert: at(`${own}.pem`), key: at(`${own}.key`) };
      openssl('req', ...key, '-keyout', files.key, '-out', at(`${own}.csr`), '-subj', subject);
      const extensions = [`extendedKeyUsage=${usage}`, ...(altNames ? [`subjectAltName=${altNames}`] : [])];
      writeFileSync(at(`${own}.ext`), extensions.join('\n'));
      // openssl x509 makes no certificate of the past; -not_after came with 3.4.
      const validity = days > 0 ? ['-days', String(days)] : ['-days', '-1'];
      const issuer = ['-CA', file, '-CAkey', at(`${name}.key`), '-CAcreateserial'];
      const request = ['-req', '-in', at(`${own}.csr`), '-extfile', at(`${own}.ext`)];
      openssl('x509', ...request, ...issuer, ...validity, '-out', files.cert);
      return files;
    },
  };
}

export function readCertificate({ cert, key }: CertificateFiles): CertificateFiles {
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
}
