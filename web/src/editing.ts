// The configuration being edited. It outlives the page: a look at the keys, or a login in between, loses no word.
import { shallowReactive } from 'vue';
import { call } from './api';
import type { Judged, Settings } from './shapes';

export const editing = shallowReactive({
  settings: null as Settings | null,
  etag: '',
  text: '',
  /** Somebody else saved meanwhile: what stands now, until the operator has chosen. */
  theirs: null as { settings: Settings; etag: string } | null,
});

export const changed = (): boolean => editing.settings !== null && editing.text !== editing.settings.toml;

async function fetchSettings(signal?: AbortSignal): Promise<{ settings: Settings; etag: string }> {
  const { value, etag } = await call<Settings>('GET', 'api/config', { signal });
  return { settings: value, etag: etag ?? `"${value.version}"` };
}

/** Loads what stands now. Text that was changed is kept, and what stands becomes "theirs" if it is another. */
export async function fetchConfig(signal?: AbortSignal): Promise<void> {
  const { settings, etag } = await fetchSettings(signal);
  if (changed() && editing.settings?.toml !== settings.toml) {
    editing.theirs = { settings, etag };
    return;
  }
  const keep = changed();
  Object.assign(editing, { settings, etag, theirs: null });
  if (!keep) editing.text = settings.toml;
}

/** Goes on from what another saved: with the own text over it, or with theirs. */
export function settle(keepMine: boolean): void {
  if (!editing.theirs) return;
  const { settings, etag } = editing.theirs;
  Object.assign(editing, { settings, etag, theirs: null });
  if (!keepMine) editing.text = settings.toml;
}

const match = () => ({ 'if-match': editing.etag });

export const judge = async (signal: AbortSignal): Promise<Judged> => (await call<Judged>('PUT', 'api/config?dry_run=true', { body: { toml: editing.text }, headers: match(), signal })).value;

export async function write(comment: string): Promise<Judged> {
  const { value } = await call<Judged>('PUT', 'api/config', { body: { toml: editing.text, ...(comment ? { comment } : {}) }, headers: match() });
  await renew();
  return value;
}

export async function rollBack(version: string, comment: string): Promise<Judged> {
  const { value } = await call<Judged>('POST', 'api/config/rollback', { body: { version, ...(comment ? { comment } : {}) }, headers: match() });
  await renew();
  return value;
}

export async function reread(): Promise<Judged> {
  const { value } = await call<Judged>('POST', 'api/reload', { body: {}, headers: match() });
  await fetchConfig();
  return value;
}

/** What was saved stands: the text is the gateway's again. */
async function renew(): Promise<void> {
  const { settings, etag } = await fetchSettings();
  Object.assign(editing, { settings, etag, theirs: null, text: settings.toml });
}
