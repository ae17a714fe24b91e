// Calls to the admin API: JSON in, JSON out, failures as `Problem`.
export interface FieldFault {
  field: string;
  line?: number;
  detail: string;
}

/** A refusal (RFC 9457), or no answer at all: then `status` is 0. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly detail: string,
    readonly errors: FieldFault[] = [],
    readonly retryAfter: number | null = null,
  ) {
    super(detail);
  }
}

export interface Answer<T> {
  value: T;
  etag: string | null;
}

interface Options {
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** No call but the live and the playground's stream takes longer. */
const PATIENCE_MS = 30_000;
const onLost = new Set<() => void>();

/** Calls `then` when an answer says that the session is over. */
export function whenLost(then: () => void): void {
  onLost.add(then);
}

/** One call whose answer is still to be read: for streams. */
export async function open(method: string, path: string, { body, headers = {}, signal }: Options = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? headers : { 'content-type': 'application/json', ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: 'no-store',
      credentials: 'same-origin',
      redirect: 'error',
    });
  } catch (error) {
    if (signal?.aborted && !(signal.reason instanceof DOMException && signal.reason.name === 'TimeoutError')) throw error;
    throw new Problem(0, error instanceof Error ? error.message : String(error));
  }
  if (response.ok) return response;
  const problem = await refusal(response);
  if (problem.status === 401 && !path.endsWith('api/session')) for (const then of onLost) then();
  throw problem;
}

export async function call<T>(method: string, path: string, options: Options = {}): Promise<Answer<T>> {
  const timeout = AbortSignal.timeout(PATIENCE_MS);
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
  const response = await open(method, path, { ...options, signal });
  const text = await response.text();
  return { value: (text ? JSON.parse(text) : null) as T, etag: response.headers.get('etag') };
}

export const load = async <T>(path: string, signal?: AbortSignal): Promise<T> => (await call<T>('GET', path, { signal })).value;

/** Whether `error` is only the end of something that was called off. */
export const calledOff = (error: unknown): boolean => error instanceof DOMException && error.name === 'AbortError';

async function refusal(response: Response): Promise<Problem> {
  const text = await response.text().catch(() => '');
  const wait = Number(response.headers.get('retry-after'));
  const after = Number.isFinite(wait) && wait > 0 ? wait : null;
  try {
    const given = JSON.parse(text);
    // Google's own form comes through the playground.
    const detail = given.detail ?? given.error?.message ?? given.title ?? '';
    return new Problem(response.status, String(detail), Array.isArray(given.errors) ? given.errors : [], after);
  } catch {
    return new Problem(response.status, text.slice(0, 500), [], after);
  }
}
