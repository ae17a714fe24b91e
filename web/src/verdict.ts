// The gateway's verdict in a sentence, and what is out, grouped by why.
import { count, percent, span } from './figures';
import type { KeyRow, Overview } from './shapes';
import { t, word } from './words';

export function sentence(said: Overview, now: number): string {
  const { keys } = said;
  const outs = keys.off + keys.dead;
  const soon = keys.soonest_return ? Date.parse(keys.soonest_return) - now : null;
  switch (said.verdict.code) {
    case 'all_well':
      return t('verdict.all_well', { n: keys.usable, keys: count(keys.usable) });
    case 'keys_out':
      return t('verdict.keys_out', { n: outs, out: count(outs), total: count(keys.total) });
    case 'some_cooling':
      return t('verdict.some_cooling', { n: keys.cooling, cooling: count(keys.cooling) });
    case 'no_usable_key':
      if (keys.total === 0) return t('verdict.no_key');
      return soon !== null && soon > 0 ? t('verdict.no_usable_key_until', { span: span(soon / 1000) }) : t('verdict.no_usable_key');
    case 'errors':
      return t('verdict.errors', { share: percent(said.verdict.counts?.failed_share ?? 1 - (said.minute.success_ratio ?? 1)) });
    case 'draining':
      return t('verdict.draining', { n: said.now.in_flight, calls: count(said.now.in_flight) });
    default:
      return word('verdict', said.verdict.code) || t(`verdict.${said.verdict.state}`);
  }
}

/** What to do about it, in a sentence. */
export function advice(said: Overview): string {
  switch (said.verdict.code) {
    case 'no_usable_key':
      return said.keys.total === 0 ? t('advice.no_key') : t('advice.no_usable_key');
    case 'keys_out':
      return t('advice.keys_out', { n: said.keys.usable, usable: count(said.keys.usable) });
    case 'some_cooling':
      return t('advice.some_cooling');
    case 'errors':
      return t('advice.errors');
    case 'state_unsaved':
      return t('advice.state_unsaved');
    case 'draining':
      return t('advice.draining');
    default:
      return said.minute.requests === 0 ? t('advice.idle') : t('advice.all_well');
  }
}

export interface Group {
  state: string;
  reason: string;
  rows: KeyRow[];
  /** When the first of them returns. */
  soonest: string | null;
}

const RANK = ['dead', 'off', 'trial', 'cooling', 'disabled'];

/** Every key that is not simply usable, the worst first. */
export function groups(rows: readonly KeyRow[]): Group[] {
  const found = new Map<string, Group>();
  for (const row of rows) {
    if (row.state === 'usable') continue;
    const reason = why(row);
    const name = `${row.state} ${reason}`;
    let group = found.get(name);
    if (!group) found.set(name, (group = { state: row.state, reason, rows: [], soonest: null }));
    group.rows.push(row);
    const returns = back(row);
    if (returns && (!group.soonest || returns < group.soonest)) group.soonest = returns;
  }
  return [...found.values()].sort((a, b) => RANK.indexOf(a.state) - RANK.indexOf(b.state) || b.rows.length - a.rows.length);
}

export const why = (row: KeyRow): string => row.reason ?? row.cooling[0]?.reason ?? '';

/** When a key is back in full: of one that rests for some models the last of these. */
export function back(row: KeyRow): string | null {
  if (row.returns_at || row.cooling.length === 0) return row.returns_at;
  const ends = row.cooling.map((one) => one.until).filter((one): one is string => one !== null);
  return ends.length === 0 ? null : ends.reduce((a, b) => (a > b ? a : b));
}
