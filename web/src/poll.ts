// What a page asks for again and again while it is seen.
import { onScopeDispose, shallowReactive } from 'vue';
import { calledOff } from './api';

export interface Polled<T> {
  value: T | null;
  problem: unknown;
  loading: boolean;
  again: () => Promise<void>;
}

/** Calls `ask` now and `every` so many milliseconds while the page is seen. A later call makes an earlier one void. */
export function polled<T>(ask: (signal: AbortSignal) => Promise<T>, every: number | (() => number)): Polled<T> {
  let timer = 0;
  let mine: AbortController | null = null;
  const again = async (): Promise<void> => {
    clearTimeout(timer);
    mine?.abort();
    const one = (mine = new AbortController());
    state.loading = true;
    try {
      const value = await ask(one.signal);
      if (mine !== one) return;
      state.value = value;
      state.problem = null;
    } catch (error) {
      if (mine !== one || calledOff(error)) return;
      state.problem = error;
    } finally {
      if (mine === one) {
        state.loading = false;
        const wait = typeof every === 'number' ? every : every();
        if (wait > 0 && !document.hidden) timer = window.setTimeout(again, wait);
      }
    }
  };
  const state: Polled<T> = shallowReactive({ value: null, problem: null, loading: true, again }) as Polled<T>;
  const seen = () => {
    if (!document.hidden) again();
    else clearTimeout(timer);
  };
  document.addEventListener('visibilitychange', seen);
  onScopeDispose(() => {
    document.removeEventListener('visibilitychange', seen);
    clearTimeout(timer);
    mine?.abort();
    mine = null;
  });
  again();
  return state;
}
