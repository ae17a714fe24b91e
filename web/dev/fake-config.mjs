// The fake's configuration: a file of lines `field = value` in sections, checked for a few faults.
import { createHash } from 'node:crypto';

const FIRST = `## The listeners.
[server]
host = "127.0.0.1"
port = 8080
admin_port = 9090
drain_timeout_ms = 30000

[auth]
tokens = ["[secret 1]"]
admin_token = "[secret 2]"

## The keys together.
[pool]
max_wait_ms = 10000
queue_max = 1024

[log]
level = "INFO"

[[keys]]
key = "[secret 3]"
id = "team-a"
weight = 5

[[keys]]
key = "[secret 4]"
weight = 1
`;
const KNOWN = ['server.host', 'server.port', 'server.admin_port', 'server.drain_timeout_ms', 'auth.tokens', 'auth.admin_token', 'pool.max_wait_ms', 'pool.queue_max', 'pool.prefix_affinity', 'log.level', 'retry.retries', 'cache.enabled', 'data_dir'];
const KEY_FIELDS = ['key', 'key_env', 'key_file', 'id', 'weight', 'project', 'proxy', 'rpm', 'tpm', 'rpd', 'enabled'];
const RESTART = ['server.host', 'server.port', 'server.admin_port'];

const version = (toml) => createHash('sha256').update(toml).digest('hex').slice(0, 12);

/** Field by field, with the line of each. */
function fields(toml) {
  const found = new Map();
  const errors = [];
  let section = '';
  let key = -1;
  toml.split('\n').forEach((raw, at) => {
    const line = raw.replace(/^\s*#.*/, '').trim();
    if (!line) return;
    if (line === '[[keys]]') {
      key += 1;
      section = `keys.${key}.`;
    } else if (/^\[[\w.]+\]$/.test(line)) section = `${line.slice(1, -1)}.`;
    else {
      const [, name, value] = /^(\w+)\s*=\s*(.+)$/.exec(line) ?? [];
      if (!name) errors.push({ field: '', line: at + 1, detail: 'expected `field = value`' });
      else found.set(section + name, { line: at + 1, value });
    }
  });
  return { found, errors };
}

export class FakeConfig {
  constructor() {
    this.toml = FIRST;
    this.entries = [{ version: version(FIRST), at: new Date(Date.now() - 86400000).toISOString(), author: 'start', comment: 'as the file was', diff: '', toml: FIRST }];
    const older = FIRST.replace('weight = 5', 'weight = 3');
    this.entries.push({ version: version(older), at: new Date(Date.now() - 2 * 86400000).toISOString(), author: 'dashboard', comment: 'half as much for team-a', diff: diff(FIRST, older), toml: older });
  }

  get version() {
    return version(this.toml);
  }

  view() {
    const effective = {};
    for (const [name, { value }] of fields(this.toml).found) {
      const path = name.split('.');
      const last = path.pop();
      path.reduce((node, part) => (node[part] ??= {}), effective)[last] = value.replace(/"/g, '');
    }
    return { version: this.version, path: '/etc/geminate/config.toml', exists: true, toml: this.toml, effective, environment: [{ field: 'keys', variable: 'GEMINI_API_KEY' }, { field: 'log.level', variable: 'LOG_LEVEL' }], needs_restart: this.waiting(), warnings: [] };
  }

  /** Fields that were changed since the start and count from the next one on. */
  waiting() {
    const [first, last] = [fields(FIRST).found, fields(this.toml).found];
    return RESTART.filter((name) => first.get(name)?.value !== last.get(name)?.value);
  }

  judge(toml) {
    const { found, errors } = fields(toml);
    for (const [field, { line, value }] of found) {
      const inKey = /^keys\.\d+\.(\w+)$/.exec(field);
      if (inKey ? !KEY_FIELDS.includes(inKey[1]) : !KNOWN.includes(field)) errors.push({ field, line, detail: 'unknown field' });
      else if (inKey?.[1] === 'weight' && !(Number(value) >= 1 && Number(value) <= 1000)) errors.push({ field, line, detail: `${value} is not between 1 and 1000` });
      else if (/_ms$|port$|_max$/.test(field) && !/^\d+$/.test(value)) errors.push({ field, line, detail: 'expected a whole number' });
    }
    const before = fields(this.toml).found;
    const names = [...new Set([...before.keys(), ...found.keys()])];
    const changes = names
      .filter((name) => before.get(name)?.value !== found.get(name)?.value)
      .map((field) => ({ field, from: before.get(field)?.value ?? null, to: found.get(field)?.value ?? null, needs_restart: RESTART.includes(field), ...(field === 'log.level' ? { shadowed_by: 'LOG_LEVEL' } : {}) }));
    return { errors, changes, warnings: changes.some((one) => one.needs_restart) ? ['server.port takes effect at the next start'] : [] };
  }

  write(toml, author, comment) {
    const before = this.toml;
    this.toml = toml;
    this.entries.unshift({ version: version(toml), at: new Date().toISOString(), author, comment, diff: diff(before, toml), toml });
    this.entries.length = Math.min(50, this.entries.length);
  }

  at(wanted) {
    return this.entries.find((one) => one.version === wanted)?.toml;
  }

  history() {
    return this.entries.map(({ toml, ...entry }) => entry);
  }
}

/** A unified difference good enough for a fake: the common head and tail are left out. */
function diff(before, after) {
  const [one, other] = [before.split('\n'), after.split('\n')];
  let head = 0;
  while (head < one.length && one[head] === other[head]) head += 1;
  let tail = 0;
  while (tail < Math.min(one.length, other.length) - head && one.at(-1 - tail) === other.at(-1 - tail)) tail += 1;
  const from = Math.max(0, head - 2);
  const lines = [...one.slice(from, head).map((line) => ` ${line}`), ...one.slice(head, one.length - tail).map((line) => `-${line}`), ...other.slice(head, other.length - tail).map((line) => `+${line}`)];
  return `--- before\n+++ after\n@@ -${from + 1},${one.length - tail - from} +${from + 1},${other.length - tail - from} @@\n${lines.join('\n')}\n`;
}
