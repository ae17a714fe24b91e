// One call's attempts in words: "key #1 503 in 80 ms, waited 2.1 s, key #2 200".
import { took } from './figures';
import type { Call, Try } from './shapes';
import { t, word } from './words';

/** Less than this between two attempts is no wait worth a word. */
const WAIT_MIN_MS = 20;

export const keyName = (id: string | null | undefined): string => (!id ? '–' : /^\d+$/.test(id) ? t('tale.key_number', { id }) : t('tale.key', { id }));

export const isGood = (one: Try): boolean => one.verdict === 'success' || one.verdict === 'empty';

/** The wait before each attempt: for a key, or between the end of the one before and its beginning. */
export function waits(attempts: Try[]): number[] {
  let free = 0;
  return attempts.map((one) => {
    const gap = Math.max(0, one.began_ms - free);
    free = Math.max(free, one.began_ms + (one.took_ms ?? 0));
    const wait = Math.max(gap, (one.waited_ms ?? 0) + (one.paused_ms ?? 0));
    return wait >= WAIT_MIN_MS ? Math.min(wait, one.began_ms) : 0;
  });
}

/** How long an attempt took: one that answered, to its first byte. */
export function lasted(call: Call, at: number): number | null {
  const one = call.attempts[at];
  const first = call.first_byte_ms;
  if (!isGood(one) || first === null || first < one.began_ms || at !== call.attempts.findLastIndex(isGood)) return one.took_ms;
  return Math.min(one.took_ms ?? Infinity, first - one.began_ms);
}

export function tale(call: Call): string {
  if (call.attempts.length === 0) {
    if (call.cache) return t('tale.remembered');
    return call.outcome ? t('tale.none', { why: word('refusal', call.reason ?? call.outcome) }) : t('tale.not_yet');
  }
  const gaps = waits(call.attempts);
  const parts: string[] = [];
  call.attempts.forEach((one, at) => {
    if (gaps[at] > 0) parts.push(t('tale.waited', { time: took(gaps[at]) }));
    const before = call.attempts[at - 1];
    const beside = before && before.took_ms !== null && one.began_ms < before.began_ms + before.took_ms;
    const result = one.status ? String(one.status) : word('verdict', one.verdict);
    const key = keyName(one.key);
    if (!one.verdict) parts.push(t('tale.running', { key }));
    else if (beside) parts.push(t('tale.beside', { key, result, time: took(lasted(call, at)) }));
    else parts.push(t('tale.attempt', { key, result, time: took(lasted(call, at)) }));
  });
  return parts.join(t('tale.comma'));
}
