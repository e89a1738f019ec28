// The first file of the bundle that devices run: `treeline-agent VERB`.
import { parseArgs } from 'node:util';
import { AgentError, messageOf } from '../errors.ts';
import { verbs } from './verbs.ts';

const HELP = `Usage: treeline-agent VERB [OPTION…]

The update agent of this machine.

  run        look for updates, install them, check health, go back if need be (what the service does)
  status     what this machine knows of itself
  check      ask the server now: what it offers, how much that is, whether it may be taken
  rollback   leave what runs for the deployment before; it is not taken again until the server forgives it
  pin        keep what runs: no updates until "unpin"
  unpin      let updates go on
  enrol      make this machine a device of a server: --gateway URL --token TOKEN [--id ID] [--channel CHANNEL]

Options:
  --board DIR       folder of the agent (default /var/lib/treeline)
  --once            (run) one look and what follows from it
  --poll SECONDS    (run) time between looks
  --json            (run, status, check, rollback) for programs
  --why TEXT        (rollback, pin) what people are told
  --sysroot PATH    (enrol) a libostree sysroot that is not this machine's
  --os NAME         (enrol) its stateroot (default treeline)
  --help            this
`;

async function main(): Promise<number> {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse();
  } catch (error) {
    process.stderr.write(`treeline-agent: ${messageOf(error)}\nTry: treeline-agent --help\n`);
    return 2;
  }
  const { values, positionals } = parsed;
  const [verb = '', ...rest] = positionals;
  if (values.help || verb === 'help') {
    process.stdout.write(HELP);
    return 0;
  }
  const run = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
  if (run === undefined || rest.length > 0) {
    process.stderr.write(HELP);
    return 2;
  }
  const ending = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => ending.abort());
  try {
    return await run({ ...values, board: values.board ?? '/var/lib/treeline' }, ending.signal);
  } catch (error) {
    if (ending.signal.aborted) return 0;
    process.stderr.write(`treeline-agent: ${messageOf(error)}\n`);
    if (error instanceof AgentError && error.hint !== undefined) process.stderr.write(`${error.hint}\n`);
    if (!(error instanceof AgentError) && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`);
    return 1;
  }
}

function parse() {
  return parseArgs({
    allowPositionals: true,
    options: {
      board: { type: 'string' },
      once: { type: 'boolean' },
      poll: { type: 'string' },
      json: { type: 'boolean' },
      why: { type: 'string' },
      gateway: { type: 'string' },
      token: { type: 'string' },
      id: { type: 'string' },
      channel: { type: 'string' },
      'hardware-id': { type: 'string' },
      sysroot: { type: 'string' },
      os: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
}

void main().then((code) => {
  // What is left open (a connection that is kept, say) is nothing to wait for.
  process.exit(code);
});
