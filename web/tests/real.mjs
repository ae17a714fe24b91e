// `node tests/real.mjs path/to/geminate` starts that binary over its own mocked Google, with keys of the environment
// and of the file, and runs the set of `gateway.mjs` against it. Everything is on loopback and in a temporary directory.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gateway } from './gateway.mjs';
import { run, Stage, until } from './stage.mjs';

const TOKEN = 'fake-admin-token';
const binary = resolve(process.argv[2] ?? '../target/debug/geminate');
const only = process.argv[3] === '--only' ? new RegExp(process.argv[4]) : null;
const dir = mkdtempSync(join(tmpdir(), 'geminate-web-'));
const children = [];

const free = () =>
  new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

function start(args, env = {}) {
  const child = spawn(binary, args, { cwd: dir, env: { PATH: process.env.PATH, HOME: dir, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => said.push(part) > 400 && said.shift());
  child.said = () => Buffer.concat(said).toString().slice(-4000);
  children.push(child);
  return child;
}

const answers = (url) => until(() => fetch(url).then((answer) => answer.status < 500, () => false), `${url} answers`);

try {
  const [mock, data, admin] = [await free(), await free(), await free()];
  writeFileSync(
    join(dir, 'config.toml'),
    `## Of the dashboard's tests.\n[auth]\nadmin_token = "${TOKEN}"\n\n[pool]\nmax_wait_ms = 10000\n\n[[keys]]\nkey = "fake-key-0002"\nid = "team-a"\nweight = 5\n\n[[keys]]\nkey = "fake-key-0003"\nid = "team-b"\n`,
  );
  start(['mock', '--listen', `127.0.0.1:${mock}`]);
  await answers(`http://127.0.0.1:${mock}/mock/state`);
  const served = start(['serve'], {
    GEMINI_API_KEY: 'fake-key-0001:2',
    GEMINI_BASE_URL: `http://127.0.0.1:${mock}`,
    DATA_DIR: join(dir, 'data'),
    GEMINATE_CONFIG: join(dir, 'config.toml'),
    PORT: String(data),
    ADMIN_PORT: String(admin),
    LOG_FORMAT: 'text',
  });
  await answers(`http://127.0.0.1:${admin}/api/session`);
  const stage = new Stage(`http://127.0.0.1:${admin}`, { token: TOKEN, mock: `http://127.0.0.1:${mock}` });
  gateway(stage);
  const { failed, ran } = await run('geminate', only);
  await stage.close();
  if (failed) console.log(served.said());
  console.log(failed ? `${failed} of ${ran} failed` : `all ${ran} passed`);
  process.exitCode = failed || ran === 0 ? 1 : 0;
} finally {
  for (const child of children) child.kill('SIGKILL');
  rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}
