// The live stream of the gateway: opened while the page is seen, opened again with patience when it breaks.
import { load, open, Problem } from './api';
import { events } from './events';
import type { KeyRow, Overview } from './shapes';
import { heard, keysChanged, link, session } from './state';

/** An event comes each second: after this long without one the stream is as good as broken. */
const SILENCE_MS = 10_000;
const WAIT_MIN_MS = 1000;
const WAIT_MAX_MS = 30_000;
const POLL_MS = 5000;

let running: AbortController | null = null;
let timer = 0;
let failures = 0;

export function startLive(): void {
  document.addEventListener('visibilitychange', () => (document.hidden ? stopLive('paused') : connect()));
  addEventListener('online', () => retryNow());
  if (document.hidden) link.state = 'paused';
  else connect();
}

export function stopLive(state: 'paused' | 'waiting' = 'paused'): void {
  clearTimeout(timer);
  running?.abort();
  running = null;
  link.state = state;
}

export function retryNow(): void {
  if (link.state === 'live' || document.hidden || !session.authenticated) return;
  failures = 0;
  connect();
}

function connect(): void {
  clearTimeout(timer);
  running?.abort();
  const mine = (running = new AbortController());
  if (link.state !== 'waiting' && link.state !== 'polling') link.state = 'connecting';
  listen(mine).then(
    () => broke(mine, new Problem(0, '')),
    (error) => broke(mine, error),
  );
}

async function listen(mine: AbortController): Promise<void> {
  let quiet = 0;
  const seen = () => {
    clearTimeout(quiet);
    quiet = window.setTimeout(() => mine.abort('silent'), SILENCE_MS);
  };
  seen();
  try {
    const response = await open('GET', 'api/live', { signal: mine.signal });
    let whole = true;
    for await (const { event, data } of events(response, seen)) {
      if (running !== mine) return;
      if (event === 'overview') heard(JSON.parse(data) as Overview);
      else if (event === 'keys') {
        const said = JSON.parse(data) as { keys: KeyRow[]; gone?: string[] };
        keysChanged(said.keys, said.gone, whole);
        whole = false;
      }
      failures = 0;
      link.state = 'live';
      link.problem = null;
    }
  } finally {
    clearTimeout(quiet);
  }
}

function broke(mine: AbortController, error: unknown): void {
  if (running !== mine || !session.authenticated) return;
  running = null;
  failures += 1;
  link.problem = error;
  if (error instanceof Problem && error.status === 503) {
    // There is no room for another listener: ask instead of being told.
    poll().catch(() => {});
    later('polling', POLL_MS);
    return;
  }
  const most = Math.min(WAIT_MAX_MS, WAIT_MIN_MS * 2 ** (failures - 1));
  later('waiting', most / 2 + (Math.random() * most) / 2);
}

function later(state: 'polling' | 'waiting', ms: number): void {
  link.state = state;
  link.retryAt = Date.now() + ms;
  timer = window.setTimeout(connect, ms);
}

async function poll(): Promise<void> {
  const [overview, keys] = await Promise.all([load<Overview>('api/overview'), load<{ keys: KeyRow[] }>('api/keys')]);
  heard(overview);
  keysChanged(keys.keys, [], true);
}
