import { type Client, decodeText } from './client.ts';

/** One server-sent event: its id, its type (`run.started`), and its data as JSON. */
export type ServerEvent = { id: string; type: string; data: unknown };

/**
 * The server's events from now on, or after `lastEventId`; ends when the server closes the stream.
 * Framing: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export async function* readEvents(client: Client, options: { lastEventId?: string } = {}): AsyncGenerator<ServerEvent> {
  const headers = {
    accept: 'text/event-stream',
    ...(options.lastEventId ? { 'last-event-id': options.lastEventId } : {}),
  };
  yield* parseEvents(decodeText(client.stream('events', { headers })));
}

/** Events out of chunks of text; events whose data is not JSON are skipped. */
export async function* parseEvents(chunks: AsyncIterable<string>): AsyncGenerator<ServerEvent> {
  let rest = '';
  let id = '';
  let type = '';
  let data: string[] = [];
  for await (const chunk of chunks) {
    rest += chunk;
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop()!;
    for (const line of lines) {
      if (line === '') {
        const value = data.length > 0 ? parse(data.join('\n')) : undefined;
        if (value !== undefined) yield { id, type: type || 'message', data: value };
        type = '';
        data = [];
        continue;
      }
      const colon = line.indexOf(':');
      const field = colon < 0 ? line : line.slice(0, colon);
      const content = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'id') id = content;
      else if (field === 'event') type = content;
      else if (field === 'data') data.push(content);
    }
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
