import type { Deployer } from '../deploy/deployer.ts';
import type { GatewayClient } from '../gateway/client.ts';
import { findDifference } from './difference.ts';

/**
 * Tells the server what was changed on this board by hand, as it was asked. Nothing is kept: a question whose answer was
 * lost is asked again with the next look.
 *
 * @throws AgentError `unreachable`, `refused`; what the deployer throws
 */
export async function answerDifference(o: {
  client: Pick<GatewayClient, 'deliver'>;
  deployer: Pick<Deployer, 'system'>;
  request: string;
  /** Commit that runs. */
  commit: string | null;
  signal?: AbortSignal | undefined;
}): Promise<void> {
  const { changes, complete } = await findDifference(await o.deployer.system(), { signal: o.signal });
  const body = { request: o.request, commit: o.commit, changes, complete };
  await o.client.deliver({ method: 'PUT', path: '/device/difference', body }, o.signal);
}
