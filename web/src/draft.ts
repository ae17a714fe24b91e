// What was typed into a key's fields, as the API takes it.
import type { Draft } from './parts/KeyFields.vue';
import type { KeyRow } from './shapes';

export const blank = (): Draft => ({ id: '', weight: '1', project: '', rpm: '', tpm: '', rpd: '' });

export const draftOf = (row: KeyRow): Draft => ({ id: row.id, weight: String(row.configured_weight), project: row.project, rpm: row.rpm ? String(row.rpm) : '', tpm: row.tpm ? String(row.tpm) : '', rpd: row.rpd ? String(row.rpd) : '' });

/** A number where there is one; else the text, for the gateway to refuse with its own words. */
const number = (text: string): number | string => (/^\d+$/.test(text.trim()) ? Number(text.trim()) : text.trim());

/** What `draft` changes of `before`. An emptied limit is 0: what Google says. */
export function changesOf(draft: Draft, before: Draft): Record<string, unknown> {
  const changes: Record<string, unknown> = {};
  for (const name of Object.keys(draft) as (keyof Draft)[]) {
    const text = draft[name].trim();
    if (text === before[name]) continue;
    if (name === 'id' || name === 'project') changes[name] = text;
    else changes[name] = text === '' ? 0 : number(text);
  }
  return changes;
}
