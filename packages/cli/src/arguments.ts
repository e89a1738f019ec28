import { type Command, InvalidArgumentError } from 'commander';
import { CliError } from './errors.ts';

/** A whole number above zero, for commander. */
export function wholeNumber(text: string): number {
  const value = Number(text);
  if (!/^\d{1,9}$/.test(text) || value < 1) throw new InvalidArgumentError('It must be a whole number above 0.');
  return value;
}

/** A TCP port, 0 for any free one. */
export function port(text: string): number {
  const value = Number(text);
  if (!/^\d{1,5}$/.test(text) || value > 65535) throw new InvalidArgumentError('It must be a port, 0 to 65535.');
  return value;
}

/** Seconds above zero, with or without a fraction. */
export function seconds(text: string): number {
  const value = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || value <= 0)
    throw new InvalidArgumentError('It must be a number of seconds above 0.');
  return value;
}

/** A span such as `90s`, `15m`, `2h`, `7d` in seconds. */
export function span(text: string): number {
  const match = /^(\d{1,6})([smhd])$/.exec(text);
  const value = match ? Number(match[1]) * { s: 1, m: 60, h: 3600, d: 86_400 }[match[2] as 's' | 'm' | 'h' | 'd'] : 0;
  if (value < 1) throw new InvalidArgumentError('It must be a span such as 90s, 15m, 2h or 7d.');
  return value;
}

/** A comma list; empty parts are left out. */
export function list(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

/** For a verb that stands for its group (`treeline devices` lists them): a word after it is a verb that is not there. */
export function refuseWords(self: Command): void {
  const [word] = self.args;
  if (word === undefined) return;
  const group = self.parent!;
  const known = group.commands.map((command) => command.name()).join(', ');
  throw new CliError('usage', `There is no \`treeline ${group.name()} ${word}\`.`, {
    hint: `There are: ${known}. See: treeline ${group.name()} --help`,
  });
}
