// What the admin API says, as far as this page reads it.
export interface Quantiles {
  count: number;
  p50_ms: number;
  p95_ms: number;
  p99_ms: number;
}

export interface Performance {
  span_seconds: number;
  requests: number;
  requests_per_second: number;
  success_ratio: number | null;
  total: Quantiles;
  first_byte: Quantiles;
}

export interface Tokens {
  prompt_tokens: number;
  cached_tokens: number;
  answer_tokens: number;
  thought_tokens: number;
  tool_tokens: number;
}

export interface Overview {
  at: string;
  version: string;
  uptime_seconds: number;
  draining: boolean;
  verdict: { state: 'ok' | 'degraded' | 'down'; code: string; counts?: Record<string, number | null> };
  keys: { total: number; usable: number; cooling: number; off: number; dead: number; disabled: number; soonest_return: string | null };
  now: { in_flight: number; streams: number; waiting_for_key: number; waiting_for_place: number; connections: number };
  minute: Performance;
  five_minutes: Performance;
  tokens: Tokens;
  waste: { attempts: number; wasted_attempts: number; wasted_share: number | null; tokens_of_failed_streams: number };
}

export interface Lane {
  model: string;
  rpm: number | null;
  tpm: number | null;
  rpd: number | null;
  paced_rpm: number | null;
  paced_tpm: number | null;
  minute_requests: number;
  minute_tokens: number;
  day_requests: number;
}

export interface KeyRow {
  id: string;
  tail: string;
  project: string;
  consumer: string | null;
  tier: string | null;
  state: string;
  reason: string | null;
  returns_at: string | null;
  configured_weight: number;
  effective_weight: number;
  expected_share: number;
  actual_share: number;
  in_flight: number;
  attempts: number;
  outcomes: Record<string, number>;
  last_error: { at: string; verdict: string; model: string; message: string } | null;
  cooling: { model: string; reason: string; until: string | null }[];
  probably_same_project_as: string[];
  learnt: Lane[];
  enabled: boolean;
  /** Absent of a key that has left the configuration and finishes what it carries. */
  origin: { kind: string; name: string; editable: boolean; adjusted?: string | null } | null;
  rpm: number | null;
  tpm: number | null;
  rpd: number | null;
}

export interface Try {
  key: string;
  began_ms: number;
  /** To its failure, or to the answer's last byte. */
  took_ms: number | null;
  verdict: string | null;
  status?: number | null;
  waited_ms: number;
  paused_ms?: number;
  message?: string | null;
  did?: string | null;
}

export interface Call {
  id: string;
  at: string;
  client: string | null;
  surface: string;
  route: string;
  model: string | null;
  fallback?: string | null;
  key: string | null;
  status: number | null;
  outcome: string | null;
  reason?: string | null;
  streaming: boolean;
  attempts: Try[];
  first_byte_ms: number | null;
  total_ms: number | null;
  waited_ms: number;
  upstream_ms: number;
  overhead_ms: number | null;
  bytes: number;
  chunks: number;
  tokens: Tokens;
  cache?: string | null;
}

export interface Running {
  id: string;
  client: string | null;
  model: string | null;
  fallback?: string | null;
  key: string | null;
  route: string;
  streaming: boolean;
  age_ms: number;
  idle_ms: number;
  bytes: number;
  chunks: number;
  attempts: number;
  tokens: Tokens;
}

export interface Series {
  span: string;
  step_seconds: number;
  points: { at: number[] } & Record<string, (number | null)[]>;
}

export interface Failures {
  by_class: Record<string, number>;
  by_key: Record<string, number>;
  by_model: Record<string, number>;
  refusals: Record<string, number>;
  series: { step_seconds: number; at: number[]; classes: Record<string, number[]> };
  last: { at: string; request_id: string; key: string; model: string; class: string; status: number | null; message: string; did: string | null }[];
}

export interface Change {
  field: string;
  from: unknown;
  to: unknown;
  needs_restart?: boolean;
  shadowed_by?: string | null;
}

export interface Judged {
  version: string;
  changes: Change[];
  warnings: string[];
}

export interface Settings {
  version: string;
  path: string | null;
  exists: boolean;
  toml: string;
  effective: unknown;
  environment: { field: string; variable: string }[];
  /** Fields whose new value waits for the next start. */
  needs_restart: string[];
  warnings?: string[];
}

export interface Past {
  version: string;
  at: string;
  author: string;
  comment: string | null;
  diff: string;
}
