// A real process to kill: the agent on the board given as argument.
import { runAgent } from '../cycle/agent.ts';

await runAgent({ board: process.argv[2] ?? '', pollSeconds: 0.05 });
