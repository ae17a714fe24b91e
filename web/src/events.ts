// Server-sent events, piece by piece, whatever the pieces.
export interface ServerEvent {
  event: string;
  data: string;
}

/**
 * Yields the events of `response` until it ends, breaks or is called off. `seen` is told of every piece that comes.
 * Lines that are of no event, as an error of Google's within a stream, make one of their own, named `loose`.
 */
export async function* events(response: Response, seen: () => void = () => {}): AsyncGenerator<ServerEvent> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let event = '';
  let data: string[] = [];
  let loose: string[] = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      seen();
      rest += done ? '\n\n' : value;
      // A lone \r at the end may be half of \r\n.
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop()!;
      for (const line of lines) {
        if (line === '') {
          if (data.length > 0) yield { event: event || 'message', data: data.join('\n') };
          if (loose.length > 0) yield { event: 'loose', data: loose.join('\n') };
          event = '';
          data = [];
          loose = [];
          continue;
        }
        const colon = line.indexOf(':');
        const [name, text] = colon < 0 ? [line, ''] : [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, '')];
        if (name === 'event') event = text;
        else if (name === 'data') data.push(text);
        else if (name !== '' && name !== 'id' && name !== 'retry') loose.push(line);
      }
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
