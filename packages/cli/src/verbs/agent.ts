import type { Command } from 'commander';
import type { Session } from '../session.ts';

export function declare(command: Command, _session: Session): void {
  command.description(
    'The update agent. It runs on a device, as root, or on a folder that plays one (a virtual board).',
  );
}
