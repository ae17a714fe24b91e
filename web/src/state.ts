// What the whole page shares: who is there, what the gateway says of itself, what was just done.
import { computed, reactive, shallowReactive, shallowRef } from 'vue';
import { call, load, Problem, whenLost } from './api';
import type { KeyRow, Overview } from './shapes';
import { remember, remembered } from './words';

export const session = shallowReactive({ known: false, authenticated: false, tokenNeeded: false, problem: null as unknown });
export const overview = shallowRef<Overview | null>(null);
/** In the gateway's order; a new array for every change, its rows never changed in place. */
export const keys = shallowRef<KeyRow[] | null>(null);
/** The clock of the gateway, so that countdowns are right on a machine whose own is not; it moves once a second. */
export const now = shallowRef(Date.now());
export const link = shallowReactive({ state: 'connecting' as 'connecting' | 'live' | 'polling' | 'waiting' | 'paused', retryAt: 0, problem: null as unknown });
let ahead = 0;

setInterval(() => {
  if (!document.hidden) now.value = Date.now() + ahead;
}, 1000);

export function heard(value: Overview): void {
  const apart = Date.parse(value.at) - Date.now();
  // Less than a second is the way here, not the clock.
  ahead = Math.abs(apart - ahead) > 1500 ? apart : ahead;
  overview.value = value;
}

/** Takes the rows that changed; `whole` says that there are no others. */
export function keysChanged(rows: KeyRow[], gone: string[] = [], whole = false): void {
  if (whole || !keys.value) {
    keys.value = rows;
    return;
  }
  if (rows.length === 0 && gone.length === 0) return;
  const fresh = new Map(rows.map((row) => [row.id, row]));
  const lost = new Set(gone);
  const next: KeyRow[] = [];
  for (const row of keys.value) {
    if (lost.has(row.id) && !fresh.has(row.id)) continue;
    next.push(fresh.get(row.id) ?? row);
    fresh.delete(row.id);
  }
  keys.value = next.concat([...fresh.values()]);
}

export const out = computed(() => (keys.value ?? []).filter((row) => row.state === 'off' || row.state === 'dead'));

export async function greet(): Promise<void> {
  try {
    const said = await load<{ authenticated: boolean; token_needed: boolean }>('api/session');
    Object.assign(session, { known: true, authenticated: said.authenticated, tokenNeeded: said.token_needed, problem: null });
  } catch (problem) {
    Object.assign(session, { known: false, authenticated: false, problem });
  }
}

export async function enter(token: string): Promise<void> {
  await call('POST', 'api/session', { body: { token } });
  Object.assign(session, { known: true, authenticated: true, tokenNeeded: true, problem: null });
}

export async function leave(): Promise<void> {
  await call('DELETE', 'api/session');
  session.authenticated = false;
  overview.value = null;
  keys.value = null;
}

whenLost(() => {
  session.authenticated = false;
  session.tokenNeeded = true;
});

export type Theme = 'auto' | 'light' | 'dark';
const kept = remembered('geminate.theme');
export const theme = shallowRef<Theme>(kept === 'light' || kept === 'dark' ? kept : 'auto');
const wantsDark = matchMedia('(prefers-color-scheme: dark)');
const system = shallowRef(wantsDark.matches);
wantsDark.addEventListener('change', () => (system.value = wantsDark.matches));
export const dark = computed(() => (theme.value === 'auto' ? system.value : theme.value === 'dark'));

export function paint(chosen: Theme): void {
  theme.value = chosen;
  if (chosen === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  remember('geminate.theme', chosen);
}
paint(theme.value);

const narrowly = matchMedia('(max-width: 899px)');
export const narrow = shallowRef(narrowly.matches);
narrowly.addEventListener('change', () => (narrow.value = narrowly.matches));

export interface Notice {
  id: number;
  bad: boolean;
  text: string;
}

const NOTICES_MAX = 4;
const NOTICE_MS = 6000;
export const notices = reactive<Notice[]>([]);
let noticed = 0;

/** Says what was done. Bad news stays until it is closed. */
export function say(text: string, bad = false): void {
  const id = (noticed += 1);
  notices.push({ id, bad, text });
  if (notices.length > NOTICES_MAX) notices.shift();
  if (!bad) setTimeout(() => dismiss(id), NOTICE_MS);
}

export function dismiss(id: number): void {
  const at = notices.findIndex((one) => one.id === id);
  if (at >= 0) notices.splice(at, 1);
}

export const isProblem = (error: unknown, status: number): error is Problem => error instanceof Problem && error.status === status;
