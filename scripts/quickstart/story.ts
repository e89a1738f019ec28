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

/** Columns that a quoted line may take: what the terminal has, without the margin; as many as it likes when piped. */
export const quoteWidth: number | undefined = terminal ? Math.max(40, process.stdout.columns - 10) : undefined;

/** What a command printed, with a margin; at a terminal long lines go on below themselves. */
export function quote(text: string): void {
  for (const line of text.trimEnd().split('\n')) {
    for (const part of wrap(line)) process.stdout.write(`       ${paint('dim', '│')} ${part}\n`);
  }
}

function wrap(line: string): string[] {
  const parts: string[] = [];
  let rest = line;
  while (quoteWidth !== undefined && rest.length > quoteWidth) {
    const space = rest.lastIndexOf(' ', quoteWidth);
    const end = space > quoteWidth / 2 ? space : quoteWidth;
    parts.push(rest.slice(0, end));
    rest = `    ${rest.slice(end).trimStart()}`;
  }
  return [...parts, rest];
}

/** Seconds since the quickstart began. */
export function elapsedSeconds(): number {
  return (performance.now() - started) / 1000;
}
