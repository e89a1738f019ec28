import { styleText } from 'node:util';

const terminal = process.stdout.isTTY === true && !process.env.NO_COLOR;
const started = performance.now();
let step = 0;

/** Text in a style at a terminal, plain when piped. */
export function paint(style: Parameters<typeof styleText>[0], text: string): string {
  return terminal ? styleText(style, text) : text;
}

/** Starts a numbered step of the story. */
export function chapter(title: string): void {
  step++;
  const seconds = ((performance.now() - started) / 1000).toFixed(0).padStart(3);
  process.stdout.write(`\n${paint('dim', `${seconds} s`)}  ${paint('bold', `${step}. ${title}`)}\n`);
}

/** A line of explanation. */
export function tell(text: string): void {
  process.stdout.write(`       ${text}\n`);
}

/** A command as one would type it. */
export function command(text: string): void {
  process.stdout.write(`       ${paint('cyan', `$ ${text}`)}\n`);
}

/** What a command printed. */
export function quote(text: string): void {
  for (const line of text.trimEnd().split('\n')) process.stdout.write(`       ${paint('dim', '│')} ${line}\n`);
}

/** Seconds since the quickstart began. */
export function elapsedSeconds(): number {
  return (performance.now() - started) / 1000;
}
