import type { Command } from 'commander';
import { optionsOf, type Session } from '../session.ts';

export function declare(command: Command, session: Session): void {
  command
    .description(
      'A shell in a workspace, as root: the folder is /, its /usr/etc is /etc, and what you change there is changed in the ' +
        'workspace. /proc, /dev, /tmp and /run are fresh, /var is a scratch folder that stays beside the workspace and is ' +
        'not committed. It needs bubblewrap, and no rights of its own.',
    )
    .argument('<dir>', 'the workspace, or a folder in it')
    .argument('[command...]', 'what to run instead of a shell, after --')
    .option('--no-network', 'without network (default: that of this machine)')
    .addHelpText(
      'after',
      '\nExamples:\n  treeline enter ~/robot\n  treeline enter ~/robot -- apt-get install -y strace\n\nThe exit code is that of the command.',
    )
    .action(async (dir: string, words: string[], _: object, self: Command) => {
      const { network } = optionsOf<{ network: boolean }>(self);
      const { enterWorkspace } = await import('../workspace/enter.ts');
      const { findWorkspace } = await import('../workspace/record.ts');
      process.exitCode = await enterWorkspace(findWorkspace(dir), { command: words, network, signal: session.signal });
    });
}
