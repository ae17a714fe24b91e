// Two languages, chosen by the browser and kept when switched.
import { shallowRef } from 'vue';
import en from './locales/en.json';
import zh from './locales/zh.json';

export type Key = keyof typeof en;
export type Language = 'en' | 'zh';
type Values = Record<string, string | number>;

const ALL: Record<Language, Record<Key, string>> = { en, zh };
const kept = remembered('geminate.language');
export const language = shallowRef<Language>(kept === 'en' || kept === 'zh' ? kept : navigator.language.startsWith('zh') ? 'zh' : 'en');
document.documentElement.lang = language.value === 'zh' ? 'zh-CN' : 'en';

export function speak(chosen: Language): void {
  language.value = chosen;
  document.documentElement.lang = chosen === 'zh' ? 'zh-CN' : 'en';
  remember('geminate.language', chosen);
}

/** The sentence of `key`; `{name}` is replaced, and of `one|many` the form for `values.n` is taken. */
export function t(key: Key, values: Values = {}): string {
  const forms = ALL[language.value][key].split('|');
  const form = forms.length > 1 && values.n !== 1 && values.n !== '1' ? forms[1] : forms[0];
  return form.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** The words for a code of the API; a code that is not known yet is shown as it is, without its underscores. */
export function word(group: string, code: string | null | undefined): string {
  if (!code) return '';
  const key = `${group}.${code}`;
  return key in ALL[language.value] ? t(key as Key) : code.replaceAll('_', ' ');
}

export const locale = (): string => (language.value === 'zh' ? 'zh-CN' : 'en-GB');

export function remembered(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

export function remember(name: string, value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // A browser that keeps nothing: the choice holds until the page is left.
  }
}
