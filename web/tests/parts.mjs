// The page's own reckoning, without a browser: differences, events in pieces, attempts in words, figures.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createServer } from 'vite';
import { dice } from '../dev/world.mjs';
import { same, test } from './stage.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
let server;

/** A module of the source, as the browser would have it. */
async function source(name) {
  globalThis.document ??= { documentElement: {}, createElement: () => ({}) };
  if (!globalThis.navigator?.language?.startsWith('en')) Object.defineProperty(globalThis, 'navigator', { value: { language: 'en' }, configurable: true });
  server ??= await createServer({ root: ROOT, configFile: false, appType: 'custom', logLevel: 'error', optimizeDeps: { noDiscovery: true }, server: { middlewareMode: true, hmr: false, ws: false } });
  return server.ssrLoadModule(`/src/${name}.ts`);
}

export const closeParts = () => server?.close();

const attempt = (key, began_ms, took_ms, status, more = {}) => ({ key, began_ms, took_ms, verdict: status === 200 ? 'success' : 'overloaded', status, waited_ms: 0, ...more });

export function parts() {
  test('a difference holds both texts, whatever they are', async () => {
    const { compare, folded } = await source('lines');
    const roll = dice(3);
    for (let n = 0; n < 300; n += 1) {
      const some = () => Array.from({ length: Math.floor(roll() * 12) }, () => 'abcd'[Math.floor(roll() * 4)]).join('\n');
      const [before, after] = [some(), some()];
      const lines = compare(before, after);
      const side = (out) => lines.filter((line) => line.kind !== out).map((line) => line.text).join('\n');
      same([side('in'), side('out')], [before, after], 'the two sides');
      if (before === after) same(folded(lines), [], 'nothing to show');
    }
    const [long, longer] = [Array.from({ length: 5000 }, (_, at) => `a${at}`).join('\n'), Array.from({ length: 5000 }, (_, at) => `b${at}`).join('\n')];
    same(compare(long, longer).length, 10_000, 'texts without a common line');
  });

  test("the gateway's unified difference is read with its line numbers", async () => {
    const { unified } = await source('lines');
    const lines = unified('--- a\n+++ b\n@@ -2,3 +2,3 @@\n same\n-old\n+new\n\\ No newline at end of file\n@@ -20,1 +20,2 @@\n x\n+--- y\n');
    same(lines.map(({ kind, text, old, fresh }) => [kind, text, old ?? 0, fresh ?? 0]), [['same', 'same', 2, 2], ['out', 'old', 3, 0], ['in', 'new', 0, 3], ['gap', '', 0, 0], ['same', 'x', 20, 20], ['in', '--- y', 0, 21]], 'the lines');
    same(unified(''), [], 'no difference');
  });

  test('events come whole out of any pieces', async () => {
    const { events } = await source('events');
    const stream = 'event: overview\r\ndata: {"a":\r\ndata: "ü"}\r\n\r\n: a comment\n\ndata:x\n\nevent: keys\rdata: last\r\r{\n  "error": {}\n}';
    const bytes = new TextEncoder().encode(stream);
    for (let size = 1; size <= bytes.length; size += 1) {
      const body = new ReadableStream({
        start(out) {
          for (let at = 0; at < bytes.length; at += size) out.enqueue(bytes.slice(at, at + size));
          out.close();
        },
      });
      const found = [];
      for await (const one of events(new Response(body))) found.push([one.event, one.data]);
      same(found, [['overview', '{"a":\n"ü"}'], ['message', 'x'], ['keys', 'last'], ['loose', '{\n  "error": {}\n}']], `pieces of ${size}`);
    }
  });

  test('attempts are told: key #1 503 in 80 ms, waited 2.1 s, key #2 200', async () => {
    const { tale } = await source('tale');
    const call = (attempts, more = {}) => ({ attempts, outcome: 'ok', first_byte_ms: null, ...more });
    same(tale(call([attempt('1', 3, 80, 503), attempt('2', 2183, 2000, 200, { paused_ms: 2100 })], { first_byte_ms: 2603 })), 'key #1 503 in 80 ms, waited 2.1 s, key #2 200 in 420 ms', 'two attempts');
    same(tale(call([attempt('team-a', 1500, 300, 200, { waited_ms: 1490 })])), 'waited 1.5 s, key team-a 200 in 300 ms', 'a wait for the first key');
    same(tale(call([attempt('1', 3, 900, 503), attempt('2', 400, 300, 200)])), 'key #1 503 in 900 ms, beside it key #2 200 in 300 ms', 'one beside the other');
    same(tale(call([{ key: '1', began_ms: 2, took_ms: null, verdict: null, waited_ms: 0 }], { outcome: null })), 'key #1 is answering', 'one that runs');
    same(tale(call([], { outcome: 'refused', reason: 'exhausted' })), 'no attempt: every key rests', 'none');
    same(tale(call([], { cache: 'hit' })), 'answered from memory, without an attempt', 'from memory');
  });

  test('figures are told as people read them', async () => {
    const { took, span, percent, short, bytes } = await source('figures');
    same([0, 0.04, 0.7, 80, 999.6, 2100, 59_000, 200_000].map(took), ['0 ms', '0.04 ms', '0.7 ms', '80 ms', '1.0 s', '2.1 s', '59 s', '3 min 20 s'], 'times');
    same([0, 59, 61, 3600, 18_720, 273_600].map(span), ['0 s', '59 s', '1 min 1 s', '1 h', '5 h 12 min', '3 d 4 h'], 'spans');
    same([1, 0.99999, 0.9987, 0, null].map((ratio) => percent(ratio, 2)), ['100 %', '99.99 %', '99.87 %', '0 %', '–'], 'shares: what is not all is not 100 %');
    same([7, 1234, 12_345, 215_000_000].map(short), ['7', '1,234', '12.3K', '215M'], 'counts');
    same([999, 1500, 2_000_000].map(bytes), ['999 B', '1.5 kB', '2 MB'], 'sizes');
  });
}
