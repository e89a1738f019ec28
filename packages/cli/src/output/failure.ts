import { stripVTControlCharacters } from 'node:util';
import type { CliError } from '../errors.ts';
import { exitCodes } from '../errors.ts';
import { paint } from './colour.ts';
import { terminalWidth } from './table.ts';
import { manyLines, wrap } from './text.ts';

/** An error on stderr: what happened, and indented below it what to do next. With `json` one document of one line. */
export function printError(error: CliError, options: { json: boolean }): void {
  const { stderr } = process;
  if (options.json) {
    const { code, message, hint, server } = error;
    stderr.write(`${JSON.stringify({ error: { code, message, hint, server, exitCode: exitCodes[code] } })}\n`);
    return;
  }
  const isQuiet = error.code === 'interrupted';
  const name = paint(isQuiet ? 'yellow' : ['bold', 'red'], 'treeline:', stderr);
  const width = terminalWidth(stderr);
  let text = `${wrap(`${name} ${inert(error.message)}`, width).join('\n')}\n`;
  if (error.hint)
    text += `${wrap(inert(error.hint), width - 2)
      .join('\n')
      .replace(/^/gm, '  ')}\n`;
  if (error.code === 'server' && error.server?.requestId && !error.hint?.includes(error.server.requestId)) {
    text += paint('dim', `  (request ${error.server.requestId})\n`, stderr);
  }
  if (process.env.TREELINE_DEBUG && error.cause instanceof Error) text += `${error.cause.stack}\n`;
  stderr.write(text);
}

/** What a message repeats (a name, an answer, what a tool said) must not drive the terminal. */
function inert(text: string): string {
  return manyLines(stripVTControlCharacters(text));
}
