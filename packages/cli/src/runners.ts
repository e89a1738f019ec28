import type { Runner } from '@treeline/server';
import type { Client } from './connection/client.ts';

/** The runners that the server knows, and how its embedded one does. */
export type Runners = {
  runners: Runner[];
  embedded: { enabled: boolean; pid: number | null; problem: string | null };
};

export function fetchRunners(client: Client): Promise<Runners> {
  return client.get<Runners>('runners');
}
