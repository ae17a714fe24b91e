// The world that the fake API tells of: keys, calls under way, calls that ended, in one of a few states.
const MODELS = ['gemini-3.8-flash', 'gemini-3.7-flash', 'gemini-3.5-pro', 'gemini-embedding-2'];
const CLIENTS = ['operator', 'alice@example.com', 'ci', 'mobile-app', 'dashboard'];
const MESSAGES = {
  quota_day: 'You exceeded your current quota, please check your plan and billing details.',
  quota_minute: 'Quota exceeded for metric: generate_content_free_tier_requests, limit: 10. Please retry in 21.4s.',
  overloaded: 'The model is overloaded. Please try again later.',
  key_invalid: 'API key not valid. Please pass a valid API key.',
  internal: 'An internal error has occurred. Please retry.',
  billing: 'Your prepaid credits are depleted.',
};
const STATUS = { quota_day: 429, quota_minute: 429, overloaded: 503, key_invalid: 400, internal: 500, billing: 402, connect: undefined };
export const STATES = ['well', 'trouble', 'much', 'none', 'down', 'draining'];

/** Numbers that look random and are the same every time. */
export function dice(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state * 1664525 + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const pick = (roll, list) => list[Math.floor(roll() * list.length)];
const iso = (ms) => new Date(ms).toISOString();

function key(n, roll, fault, now, crowd) {
  const weight = pick(roll, [1, 1, 1, 2, 5, 10]);
  const environment = n <= 2;
  const rpd = pick(roll, [250, 1000, 1500]);
  const rpm = pick(roll, [10, 15, 60]);
  const learnt = MODELS.slice(0, crowd ? 2 : 3).map((model, at) => ({
    model,
    rpm,
    tpm: 250000,
    rpd,
    paced_rpm: at === 2 ? null : Math.max(5, Math.floor(rpm * 0.9)),
    paced_tpm: 225000,
    minute_requests: Math.floor(roll() * rpm * 0.8),
    minute_tokens: Math.floor(roll() * 180000),
    day_requests: Math.floor(rpd * roll() * 0.9),
  }));
  const row = {
    id: n % 7 === 3 ? `team-${String.fromCharCode(97 + (n % 26))}${n > 26 ? n : ''}` : String(n),
    tail: (0x1000 + Math.floor(roll() * 0xefff)).toString(16),
    project: `project-${Math.ceil(n / 2)}`,
    consumer: roll() < 0.5 ? `projects/${Math.floor(1e11 + roll() * 8e11)}` : null,
    tier: pick(roll, ['free', 'free', 'paid', null]),
    state: 'usable',
    reason: null,
    returns_at: null,
    configured_weight: weight,
    effective_weight: weight,
    expected_share: 0,
    actual_share: 0,
    in_flight: Math.floor(roll() * 4),
    attempts: Math.floor(roll() * 9000) + 20,
    outcomes: {},
    last_error: null,
    cooling: [],
    probably_same_project_as: [],
    learnt,
    enabled: true,
    origin: environment
      ? { kind: 'environment', name: 'GEMINI_API_KEY', editable: false, adjusted: null }
      : { kind: 'file', name: `config.toml:${10 + n * 5}`, editable: true, adjusted: null },
    rpm: null,
    tpm: null,
    rpd: n % 5 === 0 ? 1000 : null,
  };
  const rest = (reason, seconds) => {
    row.reason = reason;
    row.returns_at = seconds === null ? null : iso(now + seconds * 1000);
    row.cooling = [{ model: MODELS[0], reason, until: row.returns_at }];
  };
  if (fault === 'quota_day') {
    row.state = 'off';
    rest('quota_day', 5 * 3600 + 720 + n);
    row.cooling = learnt.map(({ model }) => ({ model, reason: 'quota_day', until: row.returns_at }));
    for (const lane of learnt) lane.day_requests = rpd;
  } else if (fault === 'invalid') {
    row.state = 'dead';
    row.reason = 'invalid';
    row.returns_at = iso(now + 540 * 1000);
  } else if (fault === 'banned') {
    row.state = 'dead';
    row.reason = 'banned';
  } else if (fault === 'cooling') {
    row.state = 'cooling';
    rest('quota_minute', 25 + (n % 30));
  } else if (fault === 'disabled') {
    row.state = 'disabled';
    row.reason = 'disabled';
    row.enabled = false;
  } else if (fault === 'trial') {
    row.state = 'trial';
    rest('trial', 3);
  } else if (fault === 'twin') {
    row.probably_same_project_as = ['1'];
  }
  row.outcomes = { success: Math.floor(row.attempts * 0.96), overloaded: Math.floor(row.attempts * 0.03) };
  if (fault && fault !== 'disabled' && fault !== 'twin') {
    const verdict = { invalid: 'key_invalid', banned: 'banned', cooling: 'quota_minute', trial: 'internal' }[fault] ?? fault;
    row.outcomes[verdict] = Math.ceil(row.attempts * 0.01);
    row.last_error = { at: iso(now - 40000 * (1 + (n % 5))), verdict, model: MODELS[0], message: MESSAGES[verdict] ?? 'Consumer has been suspended.' };
  }
  if (fault) row.effective_weight = ['off', 'dead', 'disabled'].includes(row.state) ? 0 : weight * 0.6;
  return row;
}

export class World {
  constructor(state) {
    this.become(state);
  }

  become(state, now = Date.now()) {
    const roll = dice(7);
    this.state = state;
    this.roll = roll;
    this.started = now - 3 * 86400 * 1000 - 7260 * 1000;
    const count = { much: 1000, none: 0, well: 12, trouble: 12, down: 4, draining: 6 }[state];
    const faults = {
      trouble: [null, 'quota_day', 'quota_day', null, 'invalid', 'cooling', 'cooling', null, 'banned', 'disabled', 'trial', 'twin'],
      down: ['quota_day', 'quota_day', 'invalid', 'quota_day'],
    }[state];
    this.keys = Array.from({ length: count }, (_, at) => {
      const fault = faults ? faults[at % faults.length] : state === 'much' && at % 11 === 5 ? pick(roll, ['quota_day', 'cooling', 'invalid', 'disabled']) : null;
      return key(at + 1, roll, fault, now, state === 'much');
    });
    this.requests = state === 'none' ? [] : Array.from({ length: state === 'much' ? 2000 : 120 }, (_, at) => this.request(now - at * 1700 - 900)).filter(Boolean);
    this.streams = state === 'none' ? [] : Array.from({ length: { much: 1000, well: 5, trouble: 9, down: 0, draining: 2 }[state] }, (_, at) => this.stream(at, now));
    this.share();
    this.dirty = new Set(this.keys.map(({ id }) => id));
  }

  share() {
    const whole = this.keys.reduce((sum, row) => sum + row.effective_weight, 0) || 1;
    const attempts = this.keys.reduce((sum, row) => sum + row.attempts, 0) || 1;
    for (const row of this.keys) {
      row.expected_share = row.effective_weight / whole;
      row.actual_share = row.attempts / attempts;
    }
  }

  id() {
    return Array.from({ length: 4 }, () => Math.floor(this.roll() * 0xffffffff).toString(16).padStart(8, '0')).join('').slice(0, 26);
  }

  request(at) {
    const { roll } = this;
    const usable = this.keys.filter((row) => row.effective_weight > 0);
    const any = () => (usable.length ? pick(roll, usable).id : (this.keys[0]?.id ?? '1'));
    const tries = [];
    const luck = roll();
    let clock = 2 + Math.floor(roll() * 3);
    const bad = (verdict, took) => {
      tries.push({ key: any(), began_ms: clock, took_ms: took, verdict, status: STATUS[verdict], waited_ms: 0, message: MESSAGES[verdict] });
      clock += took;
    };
    const trouble = this.state === 'trouble' || this.state === 'down' ? 0.75 : 0.94;
    let outcome = 'ok';
    let status = 200;
    let reason;
    if (this.state === 'down') {
      if (roll() < 0.5) bad('quota_day', 90);
      outcome = 'refused';
      status = 429;
      reason = 'exhausted';
    } else if (luck > trouble) {
      bad(pick(roll, ['overloaded', 'overloaded', 'quota_minute', 'internal', 'connect']), 60 + Math.floor(roll() * 90));
      if (roll() < 0.4) {
        clock += 1900;
        bad('overloaded', 80);
        tries.at(-1).waited_ms = 0;
      }
      if (roll() < 0.12) {
        outcome = 'upstream_error';
        status = 503;
      } else clock += 2100;
    } else if (luck < 0.02) {
      outcome = 'client_gone';
      status = 499;
    } else if (luck < 0.04) {
      bad('caller', 45);
      outcome = 'caller_error';
      status = 400;
    }
    const streaming = roll() < 0.6;
    const first = Math.floor(300 + roll() * 900);
    let total = clock;
    if (outcome === 'ok' || outcome === 'client_gone') {
      const waited = roll() < 0.08 ? Math.floor(roll() * 2500) : 0;
      clock += waited;
      tries.push({ key: any(), began_ms: clock, took_ms: first, verdict: outcome === 'ok' ? 'success' : 'abandoned', status: 200, waited_ms: waited });
      total = clock + first + (streaming ? Math.floor(roll() * 5000) : 12);
      tries.at(-1).took_ms = total - clock;
    }
    const waited = Math.max(0, clock - tries.reduce((sum, one) => sum + (one.verdict === 'success' ? 0 : one.took_ms), 0) - 4);
    return {
      id: this.id(),
      at: iso(at),
      client: pick(roll, CLIENTS),
      surface: roll() < 0.7 ? 'gemini' : 'openai',
      route: streaming ? 'streamGenerateContent' : 'generateContent',
      model: pick(roll, MODELS),
      key: tries.at(-1)?.key ?? null,
      status,
      outcome,
      ...(reason ? { reason } : {}),
      streaming,
      attempts: tries,
      first_byte_ms: tries.length && outcome !== 'refused' ? clock + first : null,
      total_ms: total,
      waited_ms: waited,
      upstream_ms: tries.reduce((sum, one) => sum + one.took_ms, 0),
      overhead_ms: 0.4 + roll(),
      bytes: Math.floor(roll() * 30000),
      chunks: streaming ? Math.floor(roll() * 60) : 1,
      tokens: { prompt_tokens: Math.floor(roll() * 4000), cached_tokens: Math.floor(roll() * 900), answer_tokens: Math.floor(roll() * 1200), thought_tokens: Math.floor(roll() * 400), tool_tokens: 0 },
    };
  }

  stream(at, now) {
    const { roll } = this;
    return {
      id: this.id(),
      client: pick(roll, CLIENTS),
      model: pick(roll, MODELS),
      key: this.keys.length ? pick(roll, this.keys).id : null,
      route: 'streamGenerateContent',
      streaming: roll() < 0.85,
      born: now - Math.floor(roll() * 90000) - at * 10,
      idle_ms: Math.floor(roll() * 900),
      bytes: Math.floor(roll() * 90000),
      chunks: Math.floor(roll() * 300),
      attempts: roll() < 0.9 ? 1 : 2,
      tokens: { prompt_tokens: 800, cached_tokens: 0, answer_tokens: Math.floor(roll() * 900), thought_tokens: 0, tool_tokens: 0 },
    };
  }

  /** A second goes by. */
  tick(now = Date.now()) {
    const { roll } = this;
    for (const row of this.keys) {
      if (row.effective_weight === 0 || roll() > (this.state === 'much' ? 0.2 : 0.6)) continue;
      row.attempts += 1 + Math.floor(roll() * 3);
      row.in_flight = Math.floor(roll() * 4);
      const lane = row.learnt[0];
      if (lane) {
        lane.minute_requests = Math.floor(roll() * (lane.paced_rpm ?? lane.rpm));
        lane.day_requests = Math.min(lane.rpd, lane.day_requests + 1);
      }
      this.dirty.add(row.id);
    }
    for (const row of this.keys) {
      if (row.state === 'cooling' && row.returns_at && Date.parse(row.returns_at) < now) {
        row.returns_at = iso(now + 30000);
        row.cooling[0].until = row.returns_at;
        this.dirty.add(row.id);
      }
    }
    this.share();
    for (const row of this.streams) {
      row.bytes += Math.floor(roll() * 900);
      row.chunks += 1;
      row.idle_ms = Math.floor(roll() * 900);
    }
    if (this.keys.length && this.state !== 'none') {
      this.requests.unshift(this.request(now));
      this.requests.length = Math.min(this.requests.length, 4000);
    }
  }

  overview(now = Date.now()) {
    const count = (state) => this.keys.filter((row) => row.state === state).length;
    const [off, dead, disabled, cooling] = ['off', 'dead', 'disabled', 'cooling'].map(count);
    const usable = this.keys.length - off - dead - disabled;
    const returns = this.keys.map((row) => row.returns_at).filter(Boolean).sort();
    const busy = this.state !== 'none';
    const ratio = { well: 0.998, trouble: 0.962, much: 0.994, none: null, down: 0, draining: 0.99 }[this.state];
    const load = { well: 3.2, trouble: 2.7, much: 312, none: 0, down: 1.1, draining: 0.4 }[this.state];
    const quantiles = (scale) => (busy ? { count: 180, mean_ms: 900 * scale, p50_ms: 640 * scale, p95_ms: 2310 * scale, p99_ms: 4800 * scale, max_ms: 9100 * scale } : { count: 0, mean_ms: 0, p50_ms: 0, p95_ms: 0, p99_ms: 0, max_ms: 0 });
    const performance = (seconds) => ({
      span_seconds: seconds,
      requests: Math.round(load * seconds),
      requests_per_second: load,
      success_ratio: ratio,
      total: quantiles(1),
      first_byte: quantiles(0.4),
      overhead: quantiles(0.001),
    });
    let verdict = { state: 'ok', code: 'all_well' };
    if (this.state === 'draining') verdict = { state: 'degraded', code: 'draining' };
    else if (usable === 0) verdict = { state: 'down', code: 'no_usable_key' };
    else if (off + dead > 0) verdict = { state: 'degraded', code: 'keys_out' };
    else if (cooling > 0) verdict = { state: 'ok', code: 'some_cooling' };
    return {
      at: iso(now),
      version: '0.1.0',
      uptime_seconds: Math.floor((now - this.started) / 1000),
      draining: this.state === 'draining',
      verdict: { ...verdict, counts: { keys_total: this.keys.length, keys_out: off + dead, keys_cooling: cooling, requests: Math.round(load * 60), failed_share: ratio === null ? null : 1 - ratio } },
      keys: { total: this.keys.length, usable, cooling, off, dead, disabled, soonest_return: returns[0] ?? null },
      now: {
        in_flight: this.streams.length,
        streams: this.streams.filter((row) => row.streaming).length,
        waiting_for_key: this.state === 'down' ? 3 : 0,
        waiting_for_place: 0,
        connections: this.streams.length + 4,
      },
      minute: performance(60),
      five_minutes: performance(300),
      tokens: busy ? { prompt_tokens: 184203112, cached_tokens: 40110023, answer_tokens: 22019443, thought_tokens: 9123400, tool_tokens: 12000 } : { prompt_tokens: 0, cached_tokens: 0, answer_tokens: 0, thought_tokens: 0, tool_tokens: 0 },
      waste: busy ? { attempts: 812340, wasted_attempts: this.state === 'trouble' ? 41200 : 4120, wasted_share: this.state === 'trouble' ? 0.0507 : 0.00507, tokens_of_failed_streams: 48211 } : { attempts: 0, wasted_attempts: 0, wasted_share: 0, tokens_of_failed_streams: 0 },
    };
  }

  series(span, now = Date.now()) {
    const [step, steps] = span === 'day' ? [300, 288] : [10, 360];
    const end = Math.floor(now / 1000 / step) * step;
    const from = end - step * (steps - 1);
    const busy = this.state !== 'none';
    const roll = dice(end);
    const columns = ['requests', 'ok', 'failed', 'refused', 'attempts', 'wasted', 'p50_ms', 'p95_ms', 'p99_ms', 'first_byte_p95_ms', 'prompt_tokens', 'cached_tokens', 'answer_tokens', 'thought_tokens', 'in_flight', 'streams'];
    const points = { at: [], ...Object.fromEntries(columns.map((name) => [name, []])) };
    const load = (this.overview(now).minute.requests_per_second || 0) * step;
    for (let at = 0; at < steps; at += 1) {
      const time = from + at * step;
      const wave = 1 + 0.35 * Math.sin(time / (step * 40)) + 0.25 * Math.sin(time / (step * 11)) + roll() * 0.25;
      const requests = busy ? Math.round(load * wave) : 0;
      const storm = this.state === 'trouble' && at > steps * 0.7 && at < steps * 0.82 ? 0.2 : 0.006;
      const failed = this.state === 'down' ? 0 : Math.round(requests * storm * roll());
      const refused = this.state === 'down' && at > steps * 0.8 ? requests : Math.round(requests * 0.004 * roll());
      const empty = requests === 0;
      const slow = 1 + storm * 4 + roll() * 0.2;
      const row = { requests, ok: requests - failed - refused, failed, refused, attempts: requests + failed, wasted: failed * 2, p50_ms: empty ? null : 620 * slow, p95_ms: empty ? null : 2200 * slow, p99_ms: empty ? null : 4500 * slow, first_byte_p95_ms: empty ? null : 900 * slow, prompt_tokens: requests * 900, cached_tokens: requests * 210, answer_tokens: requests * 180, thought_tokens: requests * 70, in_flight: Math.round(requests * 0.1), streams: Math.round(requests * 0.07) };
      points.at.push(time);
      for (const name of columns) points[name].push(row[name]);
    }
    return { span, step_seconds: step, from: iso(from * 1000), points };
  }

  errors(limit, now = Date.now()) {
    const failed = [];
    const by = { class: {}, key: {}, model: {} };
    const refusals = {};
    for (const request of this.requests) {
      if (request.outcome === 'refused') refusals[request.reason] = (refusals[request.reason] ?? 0) + 1;
      request.attempts.forEach((one, at) => {
        if (one.verdict === 'success' || one.verdict === 'caller' || one.verdict === 'abandoned') return;
        by.class[one.verdict] = (by.class[one.verdict] ?? 0) + 1;
        by.key[one.key] = (by.key[one.key] ?? 0) + 1;
        by.model[request.model] = (by.model[request.model] ?? 0) + 1;
        failed.push({ at: request.at, request_id: request.id, key: one.key, model: request.model, class: one.verdict, status: one.status ?? null, message: one.message ?? '', did: request.attempts[at + 1] ? 'switched_key' : 'passed_on' });
      });
    }
    const minutes = Array.from({ length: 60 }, (_, at) => Math.floor(now / 60000) * 60 - (59 - at) * 60);
    const roll = dice(11);
    const classes = Object.fromEntries(Object.keys(by.class).map((name) => [name, minutes.map((_, at) => (at > 40 && at < 48 ? Math.floor(roll() * 9) : Math.floor(roll() * 1.6)))]));
    return { by_class: by.class, by_key: by.key, by_model: by.model, refusals, series: { step_seconds: 60, at: minutes, classes }, last: failed.slice(0, limit) };
  }
}
