// biome-ignore lint/suspicious/noControlCharactersInRegex: terminal escapes are what this is about
const ESCAPE = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9]|[ -/]*[0-~])/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: an escape whose end has not come yet
const UNFINISHED = /\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,256}\x1b?|[()]?)?$/;

/**
 * Takes terminal escapes (colours, cursor) out of a stream of text: firmware and systemd print them, and in the middle of
 * words. Call it with each piece in order; an escape that a piece ends in is held back until the next.
 */
export function createEscapeStripper(): (piece: string) => string {
  let held = '';
  return (piece) => {
    const text = held + piece;
    const unfinished = UNFINISHED.exec(text);
    held = unfinished ? unfinished[0] : '';
    const whole = unfinished ? text.slice(0, unfinished.index) : text;
    return whole.replace(ESCAPE, '');
  };
}
