// `node tests/run.mjs` tests the built page against the fake. `--base URL [--token T] [--mock URL]` runs the set that
// fits a real geminate against that one; the mock is the mocked Google behind it, which some of them make stumble.
// `--only PATTERN` chooses by name.
import { start } from '../dev/fake.mjs';
import { source } from './source.mjs';
import { gateway } from './gateway.mjs';
import { page } from './page.mjs';
import { closeParts, parts } from './parts.mjs';
import { run, Stage } from './stage.mjs';

const given = (name) => (process.argv.includes(`--${name}`) ? process.argv[process.argv.indexOf(`--${name}`) + 1] : '');
const only = given('only') ? new RegExp(given('only')) : null;
const results = [];

if (given('base')) {
  const stage = new Stage(given('base').replace(/\/$/, ''), { token: given('token'), mock: given('mock').replace(/\/$/, '') });
  gateway(stage);
  results.push(await run('gateway', only));
  await stage.close();
} else {
  source();
  parts();
  results.push(await run('source', only));
  await closeParts();
  const open = await start({ state: 'trouble' });
  const locked = await start({ state: 'well', token: 'fake-admin-token' });
  const stage = new Stage(open.base, { mock: open.base });
  const guarded = new Stage(locked.base, { token: 'fake-admin-token', mock: locked.base });
  page(stage, guarded);
  results.push(await run('page', only));
  gateway(guarded);
  results.push(await run('gateway, the fake', only));
  await Promise.all([stage.close(), guarded.close(), open.stop(), locked.stop()]);
}

const failed = results.reduce((sum, one) => sum + one.failed, 0);
const ran = results.reduce((sum, one) => sum + one.ran, 0);
console.log(failed ? `${failed} of ${ran} failed` : `all ${ran} passed`);
process.exitCode = failed || ran === 0 ? 1 : 0;
