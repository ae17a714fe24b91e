// Numbers, times and spans as people read them.
import { locale, t } from './words';

/** British words, but M for a million. */
const numbers = (): string => (locale() === 'en-GB' ? 'en-US' : locale());
const formats = new Map<string, Intl.NumberFormat>();

function format(options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const name = numbers() + JSON.stringify(options);
  let found = formats.get(name);
  if (!found) formats.set(name, (found = new Intl.NumberFormat(numbers(), options)));
  return found;
}

export const count = (n: number | null | undefined): string => (n === null || n === undefined ? '–' : format({ maximumFractionDigits: 0 }).format(n));

export const decimal = (n: number, digits = 1): string => format({ minimumFractionDigits: digits, maximumFractionDigits: digits }).format(n);

/** 1234567 as 1.23 M. */
export function short(n: number | null | undefined): string {
  if (n === null || n === undefined) return '–';
  if (Math.abs(n) < 10_000) return format({ maximumFractionDigits: Math.abs(n) < 10 ? 2 : Math.abs(n) < 100 ? 1 : 0 }).format(n);
  return format({ notation: 'compact', maximumSignificantDigits: 3 }).format(n);
}

export function percent(ratio: number | null | undefined, digits = 1): string {
  if (ratio === null || ratio === undefined || !Number.isFinite(ratio)) return '–';
  // 99.96 % is not all.
  const shown = ratio < 1 && ratio > 0 ? Math.min(ratio, 1 - 0.5 * 10 ** -(digits + 2) - 1e-9) : ratio;
  const cut = ratio < 1 ? Math.floor(shown * 10 ** (digits + 2) + 1e-6) / 10 ** (digits + 2) : ratio;
  return `${format({ maximumFractionDigits: digits }).format(cut * 100)} %`;
}

/** A measured time: 80 ms, 2.1 s, 3 min 20 s. */
export function took(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '–';
  if (ms === 0) return t('unit.ms', { v: 0 });
  if (ms < 1) return t('unit.ms', { v: decimal(ms, ms < 0.1 ? 2 : 1) });
  if (ms < 999.5) return t('unit.ms', { v: Math.round(ms) });
  if (ms < 60_000) return t('unit.s', { v: decimal(ms / 1000, ms < 10_000 ? 1 : 0) });
  return span(ms / 1000);
}

/** A longer span, in its two greatest units. */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [d, h, m, s] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  const parts: [number, 'unit.d' | 'unit.h' | 'unit.min' | 'unit.s'][] = [
    [d, 'unit.d'],
    [h, 'unit.h'],
    [m, 'unit.min'],
    [s, 'unit.s'],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  if (first < 0) return t('unit.s', { v: 0 });
  return parts
    .slice(first, first + 2)
    .filter(([n], at) => at === 0 || n > 0)
    .map(([n, unit]) => t(unit, { v: n }))
    .join(' ');
}

export function bytes(n: number): string {
  if (n < 1000) return `${n} B`;
  const power = Math.min(4, Math.floor(Math.log10(n) / 3));
  return `${format({ maximumSignificantDigits: 3 }).format(n / 1000 ** power)} ${'kMGT'[power - 1]}B`;
}

const stamp = (options: Intl.DateTimeFormatOptions) => {
  const made = new Map<string, Intl.DateTimeFormat>();
  return (ms: number): string => {
    let found = made.get(locale());
    if (!found) made.set(locale(), (found = new Intl.DateTimeFormat(locale(), options)));
    return found.format(ms);
  };
};

const clockOnly = stamp({ hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const shortClock = stamp({ hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const dayAndClock = stamp({ month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const sameDay = (one: number, other: number): boolean => new Date(one).toDateString() === new Date(other).toDateString();

/** The time of day with seconds, with the day before it when it is not today's. */
export function when(at: string | number): string {
  const ms = typeof at === 'number' ? at : Date.parse(at);
  return sameDay(ms, Date.now()) ? clockOnly(ms) : dayAndClock(ms);
}

/** The same without seconds: for what lies ahead and for charts. */
export const hour = (ms: number): string => (sameDay(ms, Date.now()) ? shortClock(ms) : dayAndClock(ms));
export const shortHour = (ms: number): string => shortClock(ms);
