// The address after `#` says which page is open and what on it.
import { shallowRef } from 'vue';
import type { Key } from './words';

export const PAGES = ['overview', 'keys', 'streams', 'errors', 'requests', 'playground', 'configuration'] as const;
export type Page = (typeof PAGES)[number];
export const title = (page: Page): Key => `page.${page}`;

export interface Route {
  page: Page;
  /** What is open on it: a key's or a request's id, a tab's name. */
  item: string;
  query: Record<string, string>;
}

function read(): Route {
  const [path, search = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [page, ...rest] = path.split('/').map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  const known = (PAGES as readonly string[]).includes(page) ? (page as Page) : 'overview';
  return { page: known, item: rest.join('/'), query: Object.fromEntries(new URLSearchParams(search)) };
}

export const route = shallowRef<Route>(read());
addEventListener('hashchange', () => (route.value = read()));

export function address(page: Page, item = '', query: Record<string, string | null | undefined> = {}): string {
  const search = new URLSearchParams(Object.entries(query).filter((entry): entry is [string, string] => Boolean(entry[1]))).toString();
  return `#/${page}${item ? `/${encodeURIComponent(item)}` : ''}${search ? `?${search}` : ''}`;
}

/** Goes there; `quietly` leaves no step in the browser's history. */
export function go(page: Page, item = '', query: Record<string, string | null | undefined> = {}, quietly = false): void {
  const to = address(page, item, query);
  if (to === location.hash) return;
  if (quietly) {
    history.replaceState(null, '', to);
    route.value = read();
  } else location.hash = to;
}
