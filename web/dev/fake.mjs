// A fake of geminate's admin API, for work on the dashboard and for its tests: `node dev/fake.mjs --port 9191
// --state trouble --token secret`. It serves the built dashboard too, under the same policy as the binary.
// `POST /fake/state {"state"}`, `/fake/fail {"path","status","times","problem"}`, `/fake/delay {"ms"}`,
// `/mock/script` with a line as the mock takes it makes the playground's next answer stumble (overloaded) or stall;
// `/fake/cut {"refuse"}` (ends all live streams) and `/fake/config {"toml"}` (another writer) change it while it runs.
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import http from 'node:http';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { FakeConfig } from './fake-config.mjs';
import { STATES, World } from './world.mjs';

const DIST = join(dirname(dirname(fileURLToPath(import.meta.url))), 'dist');
const TYPES = { html: 'text/html; charset=utf-8', js: 'text/javascript; charset=utf-8', css: 'text/css; charset=utf-8', svg: 'image/svg+xml' };
export const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; require-trusted-types-for 'script'";
const TITLES = { 400: 'Bad Request', 401: 'Unauthorized', 403: 'Forbidden', 404: 'Not Found', 405: 'Method Not Allowed', 409: 'Conflict', 412: 'Precondition Failed', 415: 'Unsupported Media Type', 422: 'Unprocessable Content', 428: 'Precondition Required', 429: 'Too Many Requests', 500: 'Internal Server Error', 501: 'Not Implemented', 503: 'Service Unavailable' };

export class Refusal extends Error {
  constructor(status, detail, { errors, headers } = {}) {
    super(detail);
    Object.assign(this, { status, detail, errors, headers });
  }
}

class Fake {
  constructor({ state = 'well', token = '' } = {}) {
    this.world = new World(state);
    this.config = new FakeConfig();
    this.token = token;
    this.sessions = new Set();
    this.wrong = 0;
    this.listeners = new Set();
    this.failures = [];
    this.scripts = [];
    this.stalled = new Map();
    this.delay = 0;
    this.refuse = false;
    this.level = 'info';
    this.drained = false;
    this.ticker = setInterval(() => this.tick(), 1000);
    this.ticker.unref();
  }

  tick() {
    this.world.tick();
    const changed = this.world.keys.filter((row) => this.world.dirty.has(row.id));
    this.world.dirty.clear();
    const [overview, keys] = [JSON.stringify(this.world.overview()), JSON.stringify({ keys: changed, gone: this.gone ?? [] })];
    const some = changed.length > 0 || this.gone?.length;
    this.gone = [];
    for (const answer of this.listeners) {
      answer.write(`event: overview\ndata: ${overview}\n\n`);
      if (some) answer.write(`event: keys\ndata: ${keys}\n\n`);
    }
  }

  allowed(request) {
    if (!this.token) return true;
    const session = /geminate_session=([^;]+)/.exec(request.headers.cookie ?? '')?.[1];
    return request.headers.authorization === `Bearer ${this.token}` || request.headers['x-api-key'] === this.token || this.sessions.has(session);
  }

  async answer(request, answer) {
    const url = new URL(request.url, 'http://fake');
    const body = await read(request);
    if (url.pathname === '/mock/script') {
      this.scripts.push(body);
      return json(answer, 200, { queued: 1 });
    }
    if (url.pathname.startsWith('/fake/')) return this.control(url.pathname.slice(6), body, answer);
    if (!url.pathname.startsWith('/api/') && !url.pathname.startsWith('/debug/')) return page(url.pathname, request, answer);
    if (this.delay) await new Promise((done) => setTimeout(done, this.delay));
    const failure = this.failures.find((one) => one.times > 0 && url.pathname === one.path && (!one.method || one.method === request.method));
    if (failure) {
      failure.times -= 1;
      throw new Refusal(failure.status, failure.detail ?? 'made to fail', { errors: failure.errors, headers: failure.headers });
    }
    const given = body.length ? parse(request, body) : {};
    if (url.pathname === '/api/session') return this.session(request, given, answer);
    if (!this.allowed(request)) throw new Refusal(401, 'a token is needed', { headers: { 'www-authenticate': 'Bearer' } });
    return this.route(request, url, given, answer);
  }

  control(what, body, answer) {
    const given = body.length ? JSON.parse(body) : {};
    if (what === 'state') {
      if (!STATES.includes(given.state)) throw new Refusal(422, `state is one of ${STATES.join(', ')}`);
      this.world.become(given.state);
      this.config = new FakeConfig();
      this.failures = [];
      this.delay = 0;
      this.refuse = false;
      this.wrong = 0;
      this.cut();
    } else if (what === 'fail') this.failures.push({ times: 1, ...given });
    else if (what === 'delay') this.delay = given.ms ?? 0;
    else if (what === 'cut') {
      this.refuse = given.refuse ?? false;
      this.cut();
    } else if (what === 'config') this.config.write(given.toml, 'another', 'somebody else');
    else if (what === 'listeners') return json(answer, 200, { listeners: this.listeners.size });
    else throw new Refusal(404, 'no such control');
    return json(answer, 200, { ok: true });
  }

  cut() {
    for (const one of this.listeners) one.destroy();
    this.listeners.clear();
  }

  session(request, given, answer) {
    if (request.method === 'GET') return json(answer, 200, { authenticated: this.allowed(request), token_needed: Boolean(this.token), version: '0.1.0' });
    if (request.method === 'DELETE') {
      this.sessions.clear();
      return empty(answer, { 'set-cookie': 'geminate_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict' });
    }
    if (this.wrong >= 10) throw new Refusal(429, 'too many wrong tokens', { headers: { 'retry-after': '6' } });
    if (given.token !== this.token) {
      this.wrong += 1;
      throw new Refusal(401, 'the token is wrong', { headers: { 'www-authenticate': 'Bearer' } });
    }
    const session = randomUUID();
    this.sessions.add(session);
    return empty(answer, { 'set-cookie': `geminate_session=${session}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict` });
  }

  route(request, url, given, answer) {
    const { world } = this;
    const query = Object.fromEntries(url.searchParams);
    const limit = Number(query.limit ?? 100);
    const [, , room, id, act] = url.pathname.split('/').map(decodeURIComponent);
    const is = (method, path) => request.method === method && url.pathname === path;
    if (is('GET', '/api/overview')) return json(answer, 200, world.overview());
    if (is('GET', '/api/series')) return json(answer, 200, world.series(query.span));
    if (is('GET', '/api/live')) return this.live(answer);
    if (room === 'keys') return this.keys(request.method, id, act, given, answer);
    if (room === 'config' || url.pathname === '/api/reload') return this.configuration(request, id, query, given, answer);
    if (room === 'requests') return this.requests(id, query, limit, answer);
    if (room === 'streams') return this.streams(request.method, id, limit, answer);
    if (is('GET', '/api/errors')) return json(answer, 200, world.errors(limit));
    if (is('POST', '/api/playground')) return this.play(request, given, answer);
    if (is('POST', '/api/drain')) {
      world.state = 'draining';
      return json(answer, 202, {});
    }
    if (url.pathname === '/api/log-level') {
      if (request.method === 'PUT') {
        if (!/^([\w:*-]+=)?(off|error|warn|info|debug|trace)(,[\w:*-]+=(off|error|warn|info|debug|trace))*$/i.test(given.filter ?? '')) throw new Refusal(422, 'not a filter', { errors: [{ field: 'filter', detail: 'invalid filter directive' }] });
        this.level = given.filter;
      }
      return json(answer, 200, { filter: this.level });
    }
    if (is('GET', '/api/profiles')) return json(answer, 200, { profiles: world.state === 'trouble' ? [{ name: 'cpu-20261126-014500.pb.gz', at: new Date(Date.now() - 900000).toISOString(), cpu_share: 0.93, seconds: 10 }] : [] });
    if (url.pathname === '/debug/pprof/profile') throw new Refusal(501, 'built without the feature profile');
    throw new Refusal(404, 'no such path');
  }

  live(answer) {
    if (this.refuse) throw new Refusal(503, 'too many listeners');
    answer.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    answer.write(`event: overview\ndata: ${JSON.stringify(this.world.overview())}\n\nevent: keys\ndata: ${JSON.stringify({ keys: this.world.keys, gone: [] })}\n\n`);
    this.listeners.add(answer);
    answer.on('close', () => this.listeners.delete(answer));
  }

  keys(method, id, act, given, answer) {
    const { world } = this;
    if (!id && method === 'GET') return json(answer, 200, { etag: '"keys-1"', total: world.keys.length, keys: world.keys });
    if (!id && method === 'PATCH') {
      const errors = Object.entries(given.weights ?? {}).flatMap(([name, weight]) => (world.keys.some((row) => row.id === name) ? range(`weights.${name}`, weight, 1, 1000) : [{ field: `weights.${name}`, detail: 'no such key' }]));
      if (errors.length) throw new Refusal(422, 'nothing was changed', { errors });
      const changed = world.keys.filter((row) => row.id in given.weights);
      const foreign = changed.find((row) => !row.origin.editable);
      if (foreign && !given.over_environment) throw new Refusal(409, `the key ${foreign.id} comes from ${foreign.origin.name}`);
      for (const row of changed) this.change(row, { weight: given.weights[row.id] });
      return json(answer, 200, { keys: changed });
    }
    if (!id && method === 'POST') return json(answer, 201, this.add(given));
    const row = world.keys.find((one) => one.id === id);
    if (!row) throw new Refusal(404, 'no such key');
    if (method === 'PATCH') {
      if (!row.origin.editable) {
        if (!given.over_environment || given.id) throw new Refusal(409, `the key comes from ${row.origin.name}: change it there, or send over_environment`);
        row.origin.adjusted = 'config.toml:31';
      }
      const errors = [...range('weight', given.weight, 1, 1000), ...['rpm', 'tpm', 'rpd'].flatMap((name) => range(name, given[name], 0, 1e9)), ...unknown(given, ['id', 'weight', 'project', 'rpm', 'tpm', 'rpd', 'enabled', 'over_environment'])];
      if (errors.length) throw new Refusal(422, 'nothing was changed', { errors });
      if (given.id && given.id !== id && world.keys.some((one) => one.id === given.id)) throw new Refusal(409, 'another key has this id', { errors: [{ field: 'id', detail: 'taken' }] });
      return json(answer, 200, this.change(row, given));
    }
    if (method === 'DELETE') {
      if (!row.origin.editable) throw new Refusal(409, `the key comes from ${row.origin.name}: remove it there`);
      if (world.keys.length === 1) throw new Refusal(409, 'the last usable key stays');
      world.keys = world.keys.filter((one) => one !== row);
      this.gone = [...(this.gone ?? []), id];
      world.share();
      return empty(answer);
    }
    if (act === 'reset') return json(answer, 200, this.change(row, { reset: true }));
    if (act === 'test') return json(answer, 200, row.reason === 'invalid' ? { verdict: 'key_invalid', status: 400, message: 'API key not valid. Please pass a valid API key.', took_ms: 84 } : { verdict: 'success', status: 200, message: '', took_ms: 143, models: 42 });
    throw new Refusal(405, 'no such action');
  }

  change(row, given) {
    if (given.weight !== undefined) row.configured_weight = given.weight;
    for (const name of ['project', 'rpm', 'tpm', 'rpd', 'enabled', 'id']) if (name in given) row[name] = given[name];
    const down = given.enabled === false;
    if (down || given.enabled === true || given.reset) Object.assign(row, { state: down ? 'disabled' : 'usable', reason: down ? 'disabled' : null, returns_at: null, cooling: [] });
    row.effective_weight = row.state === 'usable' || row.state === 'cooling' ? row.configured_weight : 0;
    this.world.share();
    this.world.dirty.add(row.id);
    return row;
  }

  add(given) {
    const errors = [...(given.key ? [] : [{ field: 'key', detail: 'is missing' }]), ...range('weight', given.weight, 1, 1000), ...unknown(given, ['key', 'id', 'weight', 'project', 'rpm', 'tpm', 'rpd', 'proxy', 'enabled'])];
    if (errors.length) throw new Refusal(422, 'nothing was changed', { errors });
    if (given.key === 'fake-key-0001') throw new Refusal(409, 'this key is there already, as 1', { errors: [{ field: 'key', detail: 'already there' }] });
    const { world } = this;
    const spare = new World('well');
    const row = structuredClone(spare.keys[3]);
    Object.assign(row, { id: given.id ?? String(world.keys.length + 1), tail: given.key.slice(-4), project: given.project ?? `project-of-${world.keys.length + 1}`, attempts: 0, actual_share: 0, learnt: [], outcomes: {}, in_flight: 0, last_error: null, consumer: null, tier: null });
    row.origin = { kind: 'file', name: 'config.toml:60', editable: true };
    world.keys.push(row);
    return this.change(row, { weight: given.weight ?? 1, enabled: given.enabled ?? true, rpm: given.rpm ?? null, tpm: given.tpm ?? null, rpd: given.rpd ?? null });
  }

  configuration(request, act, query, given, answer) {
    const { config } = this;
    if (act === 'history') return json(answer, 200, { entries: config.history() });
    if (request.method === 'GET') return json(answer, 200, config.view(), { etag: `"${config.version}"` });
    if (request.url.startsWith('/api/reload')) return json(answer, 200, { version: config.version, changes: [], warnings: [] });
    const dry = query.dry_run === 'true';
    const match = request.headers['if-match'];
    if (!match) throw new Refusal(428, 'If-Match is missing');
    if (match !== `"${config.version}"`) throw new Refusal(412, 'the configuration was changed meanwhile');
    const toml = act === 'rollback' ? config.at(given.version) : given.toml;
    if (toml === undefined) throw new Refusal(404, 'no such version');
    const { errors, changes, warnings } = config.judge(toml);
    if (errors.length) throw new Refusal(422, 'the running configuration stays', { errors });
    if (!dry) config.write(toml, 'dashboard', given.comment ?? (act === 'rollback' ? `rollback to ${given.version}` : ''));
    return json(answer, 200, { version: config.version, changes, warnings }, { etag: `"${config.version}"` });
  }

  requests(id, query, limit, answer) {
    const { world } = this;
    if (id) {
      const found = this.played?.id === id ? this.played : world.requests.find((one) => one.id === id);
      if (!found) throw new Refusal(404, 'no such request, or no longer kept');
      return json(answer, 200, found);
    }
    const fits = (one) => (!query.key || one.attempts.some((attempt) => attempt.key === query.key)) && (!query.model || one.model === query.model) && (!query.client || one.client === query.client) && (!query.status || (query.status.endsWith('xx') ? String(one.status)[0] === query.status[0] : String(one.status) === query.status)) && (!query.outcome || one.outcome === query.outcome) && (!query.before || one.at < (world.requests.find((other) => other.id === query.before)?.at ?? query.before));
    const all = world.requests.filter(fits);
    return json(answer, 200, { total: all.length, requests: all.slice(0, limit) });
  }

  streams(method, id, limit, answer) {
    const { world } = this;
    if (method === 'DELETE') {
      if (!world.streams.some((row) => row.id === id)) throw new Refusal(404, 'it has ended');
      world.streams = world.streams.filter((row) => row.id !== id);
      this.stalled.get(id)?.();
      return empty(answer);
    }
    const list = world.streams.map(({ born, ...row }) => ({ ...row, age_ms: Date.now() - born })).sort((a, b) => b.age_ms - a.age_ms);
    return json(answer, 200, { total: list.length, in_flight: list.slice(0, limit) });
  }

  async play(request, given, answer) {
    if (!given.model || !given.prompt) throw new Refusal(422, 'nothing was asked', { errors: [{ field: given.model ? 'prompt' : 'model', detail: 'is missing' }] });
    const id = this.world.id();
    const ended = { ...this.world.request(Date.now()), id, client: 'dashboard', model: given.model, streaming: true, outcome: null, status: 200 };
    const script = this.scripts.shift() ?? (this.world.state === 'trouble' ? 'overloaded' : '');
    const stumble = { key: this.world.keys[0]?.id ?? '1', began_ms: 3, took_ms: 80, verdict: 'overloaded', status: 503, waited_ms: 0, paused_ms: 0, message: 'The model is overloaded.', did: 'switched_key' };
    const success = { key: this.world.keys[1]?.id ?? '2', began_ms: 2183, took_ms: 2017, verdict: 'success', status: 200, waited_ms: 0, paused_ms: 2100 };
    ended.attempts = script.includes('overloaded') ? [stumble, success] : [{ ...success, began_ms: 3, paused_ms: 0 }];
    const began = ended.attempts.at(-1).began_ms;
    Object.assign(ended, { key: success.key, first_byte_ms: began + 420, total_ms: began + 2017, waited_ms: began - 3 });
    this.played = ended;
    if (!this.world.overview().keys.usable) {
      ended.outcome = 'refused';
      return json(answer, 429, { error: { code: 429, message: 'no key can serve this model now', status: 'RESOURCE_EXHAUSTED' } }, { 'x-request-id': id, 'retry-after': '42' });
    }
    answer.writeHead(200, { 'content-type': 'text/event-stream', 'x-request-id': id, 'cache-control': 'no-store' });
    const words = `You asked: "${given.prompt}". Two wolves carry one message; either may stumble, and the message still arrives. `.repeat(3).split(' ');
    for (let at = 0; at < words.length && !answer.destroyed; at += 3) {
      const text = `${words.slice(at, at + 3).join(' ')} `;
      const parts = at === 0 ? [{ text: 'The user wants an answer.', thought: true }, { text }] : [{ text }];
      if (at === 3 && script.includes('stall')) {
        this.world.streams.push({ id, client: 'dashboard', model: given.model, key: ended.key, route: 'streamGenerateContent', streaming: true, born: Date.now(), idle_ms: 0, bytes: 300, chunks: 1, attempts: 1, tokens: {} });
        await new Promise((done) => this.stalled.set(id, done));
        ended.outcome = 'cancelled';
        this.world.requests.unshift(ended);
        return answer.end('{"error":{"code":499,"message":"the operator cancelled this request","status":"CANCELLED"}}');
      }
      answer.write(`data: ${JSON.stringify({ candidates: [{ content: { role: 'model', parts }, ...(at + 3 >= words.length ? { finishReason: 'STOP' } : {}) }], usageMetadata: { promptTokenCount: 12, candidatesTokenCount: at + 3, totalTokenCount: at + 15 }, modelVersion: given.model })}\r\n\r\n`);
      await new Promise((done) => setTimeout(done, 60));
    }
    ended.outcome = answer.destroyed ? 'client_gone' : 'ok';
    this.world.requests.unshift(ended);
    return answer.end();
  }
}

const range = (field, value, low, high) => (value === undefined || value === null || (Number.isInteger(value) && value >= low && value <= high) ? [] : [{ field, detail: `must be a whole number from ${low} to ${high}` }]);
const unknown = (given, known) => Object.keys(given).filter((name) => !known.includes(name)).map((field) => ({ field, detail: 'unknown field' }));

function read(request) {
  return new Promise((done, fail) => {
    const parts = [];
    request.on('data', (part) => parts.push(part)).on('end', () => done(Buffer.concat(parts).toString())).on('error', fail);
  });
}

function parse(request, body) {
  if (!(request.headers['content-type'] ?? '').startsWith('application/json')) throw new Refusal(415, 'application/json is expected');
  try {
    return JSON.parse(body);
  } catch {
    throw new Refusal(400, 'the body is no JSON');
  }
}

function json(answer, status, value, headers = {}) {
  answer.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers }).end(JSON.stringify(value));
}

function empty(answer, headers = {}) {
  answer.writeHead(204, headers).end();
}

function page(path, request, answer) {
  const name = path === '/' ? 'index.html' : normalize(path).slice(1);
  const file = join(DIST, name);
  if (name.startsWith('..') || name.endsWith('.gz') || !existsSync(file)) return answer.writeHead(404).end('not found');
  const headers = { 'content-type': TYPES[name.split('.').pop()] ?? 'application/octet-stream', 'content-security-policy': POLICY, 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer', 'cache-control': 'no-cache' };
  const packed = /gzip/.test(request.headers['accept-encoding'] ?? '');
  return answer.writeHead(200, packed ? { ...headers, 'content-encoding': 'gzip' } : headers).end(readFileSync(packed ? `${file}.gz` : file));
}

/** Starts a fake on `port` (0 takes a free one) and tells where it listens. */
export async function start({ port = 0, ...options } = {}) {
  const fake = new Fake(options);
  const server = http.createServer((request, answer) => {
    fake.answer(request, answer).catch((error) => {
      const status = error.status ?? 500;
      if (status === 500 && !(error instanceof Refusal)) console.error(error);
      if (answer.headersSent) return answer.destroy();
      return answer
        .writeHead(status, { 'content-type': 'application/problem+json', ...error.headers })
        .end(JSON.stringify({ type: 'about:blank', title: TITLES[status] ?? 'Error', status, detail: error.detail ?? String(error), ...(error.errors ? { errors: error.errors } : {}) }));
    });
  });
  await new Promise((done) => server.listen(port, '127.0.0.1', done));
  return {
    base: `http://127.0.0.1:${server.address().port}`,
    stop: () => {
      clearInterval(fake.ticker);
      server.closeAllConnections();
      return new Promise((done) => server.close(done));
    },
  };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const given = (name, otherwise) => (process.argv.includes(`--${name}`) ? process.argv[process.argv.indexOf(`--${name}`) + 1] : otherwise);
  const { base } = await start({ port: Number(given('port', 9191)), state: given('state', 'trouble'), token: given('token', '') });
  console.log(`the fake listens on ${base}`);
}
