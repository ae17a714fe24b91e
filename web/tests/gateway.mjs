// What an operator does, against any geminate: the fake of this directory, or the real one over a mocked Google.
import { check, ready, same, test, until } from './stage.mjs';

const MODEL = 'gemini-3.8-flash';
const text = (page, selector) => page.locator(selector).first().innerText();

async function play(page, prompt) {
  await page.goto(`${page.url().split('#')[0]}#/playground`);
  await page.fill('#play-model', MODEL);
  await page.fill('#play-prompt', prompt);
  await page.click('[data-test=run]');
}
const played = (page) => page.waitForFunction(() => /^done/.test(document.querySelector('[data-test=play-state]').textContent));

/** The text of the editor with `field` of `[section]` set to `value`. */
function withField(toml, section, field, value) {
  const line = new RegExp(`^${field} = .*$`, 'm');
  if (line.test(toml)) return toml.replace(line, `${field} = ${value}`);
  const head = new RegExp(`^\\[${section}\\]$`, 'm');
  if (head.test(toml)) return toml.replace(head, `[${section}]\n${field} = ${value}`);
  return `${toml.replace(/\n*$/, '\n')}\n[${section}]\n${field} = ${value}\n`;
}

export function gateway(stage) {
  const noMock = 'skipped: no --mock';
  /** A request through the playground, its first attempt made to stumble where there is a mock. */
  const asked = async () => {
    if (stage.mock) await stage.script(`model=${MODEL} fault=overloaded times=1`);
    same((await stage.api('POST', 'api/playground', { model: MODEL, prompt: 'Say something.' })).status, 200, 'the playground');
  };

  test('a wrong token is refused and the right one opens the page', async () => {
    if (!stage.token) return 'skipped: no token is asked for';
    const page = await stage.page({ signIn: false, expect: [/status of 401/] });
    await page.fill('#token', 'not-the-token');
    await page.click('button[type=submit]');
    await page.waitForFunction(() => document.querySelector('#login-said').textContent !== '');
    check(/not the admin token/.test(await text(page, '#login-said')), 'the refusal is said');
    await page.fill('#token', stage.token);
    await page.click('button[type=submit]');
    await page.waitForSelector('[data-test=verdict]');
    check(!(await page.evaluate(() => document.cookie)), 'the session cookie is out of reach of scripts');
    check(!(await page.evaluate((token) => JSON.stringify({ ...localStorage, ...sessionStorage }).includes(token), stage.token)), 'the token is kept nowhere');
    await page.click('[data-test=leave]');
    await page.waitForSelector('#token');
    await page.reload();
    await page.waitForSelector('#token');
    await page.done();
  });

  test('the overview says the verdict in words and follows live', async () => {
    const page = await stage.page();
    await page.waitForSelector('[data-test=verdict] .verdict-word');
    check((await text(page, '.verdict-word')).length > 5, 'the verdict has words');
    await page.waitForSelector('.link[data-state=live]');
    const at = () => page.getAttribute('[data-test=verdict]', 'data-at');
    const before = await at();
    await until(async () => (await at()) !== before, 'the figures move by themselves');
    const { value } = await stage.api('GET', 'api/overview');
    check((await text(page, '.verdict-keys')).includes(String(value.keys.total)), 'the number of keys is shown');
    await page.done();
  });

  test('a key is added, weighed, disabled, enabled, tested, put to rest no more, and removed', async () => {
    const page = await stage.page({ path: 'keys', expect: [/status of 4(09|22)/] });
    await page.waitForSelector('[data-test=keys], .nothing');
    await page.click('[data-test=add-key]');
    await page.fill('#add-secret', 'fake-key-of-the-dashboard');
    await page.fill('#add-id', 'web-test');
    await page.fill('#add-weight', '1001');
    await page.click('dialog [data-yes]');
    await page.waitForSelector('#add-weight[aria-invalid=true]');
    await page.fill('#add-weight', '3');
    await page.click('dialog [data-yes]');
    await page.waitForSelector('dialog', { state: 'detached' });
    const row = async () => (await stage.api('GET', 'api/keys')).value.keys.find((one) => one.id === 'web-test');
    same((await row())?.configured_weight, 3, 'the weight of the new key');

    await page.fill('#key-text', 'web-test');
    await page.locator('.opener', { hasText: 'web-test' }).click();
    await page.fill('#edit-weight', '7');
    await page.click('[data-test=save-key]');
    await until(async () => (await row()).configured_weight === 7, 'the weight is 7');
    await page.click('[data-test=toggle]');
    await until(async () => (await row()).enabled === false, 'the key is disabled');
    await page.waitForSelector('dialog .mark[data-state=disabled]');
    await page.click('[data-test=toggle]');
    await until(async () => (await row()).enabled === true, 'the key is enabled');
    await page.click('[data-test=test]');
    await until(async () => (await text(page, '[data-test=tested]')).length > 3, 'the test says what came of it');
    await page.click('[data-test=reset]');
    await page.waitForFunction(() => /rest is ended/.test(document.querySelector('.notices').textContent));

    await page.click('[data-test=remove]');
    await page.click('dialog:has([data-yes]) >> [data-yes]');
    await page.waitForSelector('dialog', { state: 'detached' });
    same(await row(), undefined, 'the key after its removal');
    check(!JSON.stringify((await stage.api('GET', 'api/keys')).value).includes('fake-key-of-the-dashboard'), 'no answer holds the key');
    await page.done();
  });

  test('several weights are changed together', async () => {
    await stage.api('POST', 'api/keys', { key: 'fake-key-of-the-dashboard-2', id: 'web-one' });
    await stage.api('POST', 'api/keys', { key: 'fake-key-of-the-dashboard-3', id: 'web-two' });
    const page = await stage.page({ path: 'keys' });
    await page.click('[data-test=weigh]');
    await page.fill('#key-text', 'web-');
    await page.getByLabel('Weight of key web-one').fill('40');
    await page.getByLabel('Weight of key web-two').fill('0');
    check(await page.locator('[data-test=save-weights]').isDisabled(), 'a weight of 0 cannot be saved');
    await page.getByLabel('Weight of key web-two').fill('60');
    await page.click('[data-test=save-weights]');
    await page.waitForSelector('.sticky-bar', { state: 'detached' });
    const { value } = await stage.api('GET', 'api/keys');
    const weight = (id) => value.keys.find((one) => one.id === id).configured_weight;
    same([weight('web-one'), weight('web-two')], [40, 60], 'the weights');
    for (const id of ['web-one', 'web-two']) same((await stage.api('DELETE', `api/keys/${id}`)).status, 204, `removing ${id}`);
    await page.done();
  });

  test('the playground streams an answer and shows how it was served', async () => {
    if (stage.mock) await stage.script(`model=${MODEL} fault=overloaded times=1`);
    const page = await stage.page({ path: 'playground' });
    await play(page, 'Say something.');
    await played(page);
    check((await text(page, '[data-test=answer]')).length > 3, 'there is an answer');
    await page.waitForSelector('[data-test=play-attempts] .tale');
    if (stage.mock) await until(async () => /503 in .*, (waited|key).*200/s.test(await text(page, '[data-test=play-attempts] .tale')), 'the attempts are told');
    await page.done();
  });

  test('one request is found by its filter and told as a timeline', async () => {
    await asked();
    const page = await stage.page({ path: 'requests?client=dashboard' });
    await page.waitForSelector('[data-test=requests] .rows-body .row');
    for (const client of await page.locator('[data-test=requests] .rows-body .client').allInnerTexts()) same(client, 'dashboard', 'the client');
    const told = page.locator('[data-test=requests] .rows-body .row', { hasText: stage.mock ? '503 in' : 'key' }).first();
    await told.locator('a').first().click();
    await page.waitForSelector('dialog .timeline .lane');
    check(/^(waited .*)?key /.test(await text(page, 'dialog .tale')), 'it is told in words');
    if (stage.mock) check((await page.locator('dialog .lane .attempt').count()) >= 2, 'both attempts are drawn');
    await page.keyboard.press('Escape');
    await page.waitForSelector('dialog', { state: 'detached' });
    await page.done();
  });

  test('a stream is cancelled while it runs', async () => {
    if (!stage.mock) return noMock;
    await stage.script(`model=${MODEL} fault=stall:1/120s times=1`);
    const asking = await stage.page({ path: 'playground' });
    await play(asking, 'Stall, please.');
    await asking.waitForFunction(() => /answering/.test(document.querySelector('[data-test=play-state]').textContent));
    const record = await asking.getAttribute('[data-test=play-attempts] .panel-head a', 'href');
    const id = decodeURIComponent(record.split('/').pop());
    const page = await stage.page({ path: 'streams' });
    await page.waitForSelector('#stream-text');
    await page.fill('#stream-text', id);
    const row = page.locator('[data-test=streams] .rows-body .row').first();
    await row.locator('.button.danger').click();
    await page.click('dialog [data-yes]');
    await page.waitForSelector('dialog', { state: 'detached' });
    await played(asking);
    await asking.waitForSelector('.answer .trouble');
    await until(async () => (await stage.api('GET', 'api/requests?client=dashboard&limit=5')).value.requests.some((one) => one.id === id && one.outcome === 'cancelled'), 'the request is recorded as cancelled');
    await page.done();
    await asking.done();
  });

  test('an answer is stopped from the playground', async () => {
    if (!stage.mock) return noMock;
    await stage.script(`model=${MODEL} fault=stall:1/120s times=1`);
    const page = await stage.page({ path: 'playground' });
    await play(page, 'Stall again.');
    await page.click('[data-test=stop]');
    await page.waitForFunction(() => /^stopped/.test(document.querySelector('[data-test=play-state]').textContent));
    await page.waitForSelector('[data-test=run]');
    await page.done();
  });

  test('the errors are counted and the last ones told', async () => {
    if (!stage.mock) return noMock;
    await asked();
    const page = await stage.page({ path: 'errors' });
    await page.waitForSelector('[data-test=failures] li');
    check(/overloaded/.test(await text(page, 'main')), 'the class is named');
    await page.done();
  });

  test('the configuration is edited with its faults named, saved with its difference seen, and rolled back', async () => {
    const page = await stage.page({ path: 'configuration', expect: [/status of 4(12|22)/] });
    const editor = page.locator('[data-test=toml]');
    await editor.waitFor();
    const before = await editor.inputValue();
    const first = (await stage.api('GET', 'api/config')).value;
    await editor.fill(`no_such_field = 1\n${before}`);
    await page.waitForSelector('.faults li');
    check(/no_such_field/.test(await text(page, '.faults')), 'the unknown field is named');
    check(await page.locator('[data-test=review]').isDisabled(), 'faults cannot be saved');

    await editor.fill(withField(before, 'pool', 'max_wait_ms', 9876));
    await page.waitForSelector('.changes');
    check(/max_wait_ms/.test(await text(page, '.changes')), 'the change is listed');
    await page.click('[data-test=review]');
    check(/max_wait_ms = 9876/.test(await text(page, 'dialog .diff')), 'the difference is shown');
    await page.fill('#config-comment', 'by the tests of the dashboard');
    await page.click('dialog [data-yes]');
    await page.waitForSelector('dialog', { state: 'detached' });
    const after = (await stage.api('GET', 'api/config')).value;
    check(after.toml.includes('max_wait_ms = 9876') && after.version !== first.version, 'it is saved');
    same((after.toml.match(/\[secret \d+\]/g) ?? []).length, (before.match(/\[secret \d+\]/g) ?? []).length, 'the secrets that stand masked');

    await page.goto(`${stage.base}/#/configuration/history`);
    const entry = page.locator('[data-test=history] > li', { hasText: first.version.slice(0, 12) }).first();
    await page.locator('[data-test=history] > li', { hasText: 'by the tests of the dashboard' }).first().waitFor();
    await entry.locator('[data-test=rollback]').click();
    await page.click('dialog [data-yes]');
    await page.waitForSelector('dialog', { state: 'detached' });
    await until(async () => !(await stage.api('GET', 'api/config')).value.toml.includes('9876'), 'the old configuration stands again');
    await page.done();
  });

  test('two writers at once: the second is told, and keeps its text', async () => {
    const page = await stage.page({ path: 'configuration', expect: [/status of 412/] });
    const editor = page.locator('[data-test=toml]');
    await editor.waitFor();
    const before = await editor.inputValue();
    const mine = `${before.replace(/\n*$/, '\n')}## my own note\n`;
    await editor.fill(mine);
    const { value, headers } = await stage.api('GET', 'api/config');
    const theirs = await stage.api('PUT', 'api/config', { toml: withField(value.toml, 'pool', 'max_wait_ms', 8765), comment: 'another writer' }, { 'if-match': headers.get('etag') });
    same(theirs.status, 200, 'the other writer');
    await page.waitForFunction(() => !document.querySelector('[data-test=review]').disabled || document.querySelector('[data-test=conflict]'));
    if (!(await page.locator('[data-test=conflict]').count())) {
      await page.click('[data-test=review]');
      await page.click('dialog [data-yes]');
    }
    await page.waitForSelector('[data-test=conflict]');
    same(await editor.inputValue(), mine, 'the text of the second writer');
    await page.click('[data-test=take-theirs]');
    check((await editor.inputValue()).includes('8765'), 'their text is taken');
    const now = await stage.api('GET', 'api/config');
    same((await stage.api('PUT', 'api/config', { toml: value.toml, comment: 'as it was' }, { 'if-match': now.headers.get('etag') })).status, 200, 'putting it back');
    await page.done();
  });

  test('the log level is changed at run time and a wrong one refused', async () => {
    const page = await stage.page({ path: 'configuration/process', expect: [/status of (422|501|404)/] });
    await page.waitForFunction(() => document.querySelector('#log-filter')?.value);
    const before = await page.inputValue('#log-filter');
    await page.fill('#log-filter', 'info,geminate=debug');
    await page.locator('.inline-form button[type=submit]').click();
    await until(async () => (await stage.api('GET', 'api/log-level')).value.filter.includes('geminate=debug'), 'the filter is set');
    await page.fill('#log-filter', 'info,geminate=loud');
    await page.locator('.inline-form button[type=submit]').click();
    await page.waitForSelector('.trouble');
    await stage.api('PUT', 'api/log-level', { filter: before });
    await page.done();
  });

  test('every page opens in both languages without a fault', async () => {
    for (const lang of ['en-GB', 'zh-CN']) {
      const page = await stage.page({ lang, expect: [/status of (501|404)/] });
      for (const path of ['overview', 'keys', 'streams', 'errors', 'requests', 'playground', 'configuration', 'configuration/effective', 'configuration/history', 'configuration/process']) {
        await page.goto(`${stage.base}/#/${path}`);
        await ready(page);
        check(!(await page.locator('main > .trouble').count()), `${path} shows a fault: ${await text(page, 'main')}`);
      }
      await page.done();
    }
  });
}
