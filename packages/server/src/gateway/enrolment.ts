import type { IncomingMessage, ServerResponse } from 'node:http';
import { z } from 'zod';
import { isDeviceId } from '../ca/index.ts';
import { secretOf } from '../devices/tokens.ts';
import { ServerError } from '../errors.ts';
import { GatewayRefusal, readJson, sendJson } from './exchange.ts';
import type { GatewayDeps } from './gateway.ts';
import { refusalOf } from './refusals.ts';

const EnrolRequest = z.object({
  token: z.string().min(1).max(512),
  id: z.string(),
  csr: z.string().max(16 * 1024),
  hardwareId: z.string().max(128).nullish(),
});

/** `POST /enroll`: a token and a signing request become a certificate. The only path without a client certificate. */
export async function enrol(deps: GatewayDeps, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const parsed = EnrolRequest.safeParse(await readJson(req));
  if (!parsed.success) {
    const issues = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'body'}: ${issue.message}`);
    throw new GatewayRefusal(400, 'invalid-request', `the enrolment request is not valid: ${issues.join('; ')}`);
  }
  const { token, id, csr, hardwareId } = parsed.data;
  if (!isDeviceId(id)) {
    throw new GatewayRefusal(
      400,
      'invalid-request',
      'the device id is not valid',
      'Use 1 to 64 letters, digits, ".", "_" or "-".',
    );
  }
  const secret = secretOf(token);
  // The device of a board job has a token of its own, and nobody else may be called so.
  if (!(await deps.lab.mayEnrol(secret, id))) throw refusalOf('token-invalid', id);
  // Issued before the token is looked at: a request that cannot be certified must not use it up.
  const issued = await deps.authority.issueDeviceCertificate({ id, csr }).catch((error: unknown) => {
    if (error instanceof ServerError && error.code === 'invalid-request') {
      throw new GatewayRefusal(400, error.code, error.message, error.hint);
    }
    throw error;
  });
  const result = await deps.registry.enrol({
    secret,
    id,
    publicKey: issued.publicKey,
    address: req.socket.remoteAddress,
    hardwareId: hardwareId?.replaceAll('\0', '') || undefined,
  });
  if ('refused' in result) throw refusalOf(result.refused, id);
  deps.log.info({ device: id }, 'device enrolled');
  sendJson(res, 200, {
    certificate: issued.certificate,
    ca: deps.authority.certificate,
    channel: result.device.channel,
    repository: result.device.repository,
  });
}
