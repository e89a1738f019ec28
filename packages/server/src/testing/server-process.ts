/** Program: a server on the settings that its argument gives as JSON; says {url, localUrl, gatewayUrl} and runs until it is killed. */
import { startServer } from '../server.ts';
import { loadSettings, type SettingsFragment } from '../settings.ts';

const server = await startServer(loadSettings(JSON.parse(process.argv[2] ?? '{}') as SettingsFragment));
process.send?.({ url: server.url, localUrl: server.localUrl, gatewayUrl: server.gatewayUrl });
