// The page against the fake: its states, languages, colours, widths, the keyboard, and what it does when things break.
import { POLICY } from '../dev/fake.mjs';
import { audit } from './audit.mjs';
import { looks } from './looks.mjs';
import { check, ready, same, test, until } from './stage.mjs';

const text = (page, selector) => page.locator(selector).first().innerText();

export function page(stage, guarded) {
  const tell = (what, body = {}) => fetch(`${stage.base}/fake/${what}`, { method: 'POST', body: JSON.stringify(body) });
  const state = (name) => tell('state', { state: name });
  const listeners = async () => (await (await fetch(`${stage.base}/fake/listeners`)).json()).listeners;

  looks(stage, state);

  test('the fake serves the page under the policy of the binary', async () => {
    const answer = await fetch(stage.base);
    same(answer.headers.get('content-security-policy'), POLICY, 'the policy');
    const page = await stage.page();
    await ready(page);
    await page.evaluate(() => document.body.insertAdjacentText('beforeend', ''));
    const blocked = await page.evaluate(() => {
      try {
        document.body.innerHTML = '<b>x</b>';
        return false;
      } catch {
        return true;
      }
    });
    check(blocked, 'markup of plain text is refused: trusted types hold');
    await page.done().catch((error) => check(/require-trusted-types-for|TrustedHTML/.test(error.message), error.message));
  });

  test('five seconds: the verdict names what is out, why and until when', async () => {
    await state('trouble');
    const began = Date.now();
    const page = await stage.page();
    await page.waitForSelector('[data-test=out]');
    const took = Date.now() - began;
    const out = await text(page, '[data-test=out]');
    check(took < 15_000, 'it took too long');
    check(/4 of 12 keys are out/.test(await text(page, '[data-test=verdict]')), 'the verdict');
    check(/key #2/.test(out) && /day's quota is spent/.test(out) && /in 5 h/.test(out), `which, why and until when: ${out}`);
    check(/not by itself/.test(out), 'what does not come back by itself');
    const own = await page.evaluate(() => performance.getEntriesByType('paint').find((one) => one.name === 'first-contentful-paint')?.startTime);
    await page.done();
    return `first paint after ${own?.toFixed(0)} ms, the verdict within ${took} ms of a new browser page`;
  });

  test('every state of the pool has its verdict', async () => {
    for (const [name, mark, words] of [['well', 'ok', /All is well: 12 keys serve/], ['down', 'down', /No key is usable for/], ['none', 'down', /There is no key/], ['draining', 'degraded', /Draining: 2 requests/], ['much', 'degraded', /of 1,000 keys are out/]]) {
      await state(name);
      const page = await stage.page();
      await page.waitForSelector(`[data-test=verdict][data-state=${mark}]`);
      check(words.test(await text(page, '.verdict-word')), `${name}: ${await text(page, '.verdict-word')}`);
      await page.done();
    }
  });

  test('a countdown goes on and the verdict follows what happens, without a reload', async () => {
    await state('trouble');
    const page = await stage.page();
    await page.waitForSelector('[data-test=out]');
    const before = await text(page, '[data-test=out]');
    await until(async () => (await text(page, '[data-test=out]')) !== before, 'the countdown moves');
    for (const id of ['2', '5', '9', 'team-d']) await stage.api('POST', `api/keys/${id}/reset`);
    await page.waitForFunction(() => !document.querySelector('[data-test=verdict]').textContent.includes('are out'));
    await page.done();
  });

  test('a broken stream is said and mended by itself; too many listeners are asked for instead', async () => {
    await state('well');
    const page = await stage.page({ expect: [/ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION|ERR_EMPTY|status of 503/] });
    await page.waitForSelector('.link[data-state=live]');
    await page.route('**/api/live', (route) => route.abort());
    await tell('cut');
    await page.waitForSelector('.offline');
    check(/connection to geminate is lost/.test(await text(page, '.offline')), 'it is said');
    check(await page.locator('[data-test=verdict]').count(), 'the last figures stay');
    await page.unroute('**/api/live');
    await page.click('.offline button');
    await page.waitForSelector('.link[data-state=live]');
    await page.waitForSelector('.offline', { state: 'detached' });
    await tell('cut');
    await page.waitForSelector('.link[data-state=live]');
    await tell('cut', { refuse: true });
    await page.waitForSelector('.link[data-state=polling]');
    await tell('cut', { refuse: false });
    await page.waitForSelector('.link[data-state=live]');
    await page.done();
  });

  test('a page that is not seen listens to nothing', async () => {
    await state('well');
    const page = await stage.page();
    await page.waitForSelector('.link[data-state=live]');
    const hide = (hidden) =>
      page.evaluate((to) => {
        Object.defineProperty(document, 'hidden', { value: to, configurable: true });
        document.dispatchEvent(new Event('visibilitychange'));
      }, hidden);
    await until(async () => (await listeners()) === 1, 'one listener');
    await hide(true);
    await until(async () => (await listeners()) === 0, 'no listener while hidden');
    await hide(false);
    await page.waitForSelector('.link[data-state=live]');
    await page.done();
  });

  test('loading, failing and trying again are shown', async () => {
    await state('trouble');
    await tell('delay', { ms: 600 });
    const page = await stage.page({ path: 'errors', expect: [/status of 503/, /ERR_INCOMPLETE_CHUNKED/] });
    await page.waitForSelector('.waiting');
    await tell('delay', { ms: 0 });
    await ready(page);
    await tell('fail', { path: '/api/errors', status: 503, times: 100, detail: 'busy just now' });
    await page.waitForSelector('main > .trouble');
    check(/busy just now/.test(await text(page, 'main > .trouble')), 'the reason');
    check(/Wait a moment/.test(await text(page, 'main > .trouble')), 'what to do');
    check(await page.locator('[data-test=failures]').count(), 'what was known stays');
    await state('trouble');
    await page.click('main > .trouble button');
    await page.waitForSelector('main > .trouble', { state: 'detached' });
    await page.done();
  });

  test('a session that ends asks for the token again and loses no text', async () => {
    const page = await guarded.page({ path: 'configuration', expect: [/status of 401/] });
    const editor = page.locator('[data-test=toml]');
    await editor.waitFor();
    const mine = `${await editor.inputValue()}## unsaved\n`;
    await editor.fill(mine);
    await page.waitForFunction(() => !document.querySelector('[data-test=review]').disabled);
    await page.context().clearCookies();
    await page.click('[data-test=review]');
    await page.click('dialog [data-yes]');
    await page.fill('#token', 'fake-admin-token');
    await page.click('button[type=submit]');
    await editor.waitFor();
    same(await editor.inputValue(), mine, 'the text');
    await page.done();
  });

  test('wrong tokens are slowed and the wait is told', async () => {
    const page = await guarded.page({ signIn: false, expect: [/status of (401|429)/] });
    for (let n = 0; n < 11; n += 1) {
      await page.fill('#token', `wrong-${n}`);
      const answered = page.waitForResponse('**/api/session');
      await page.click('button[type=submit]');
      await answered;
    }
    await page.waitForFunction(() => /Try again in/.test(document.querySelector('#login-said').textContent));
    await fetch(`${guarded.base}/fake/state`, { method: 'POST', body: JSON.stringify({ state: 'well' }) });
    await page.done();
  });

  test('a key of the environment says where it comes from, and is changed only when that is asked for', async () => {
    await state('trouble');
    const page = await stage.page({ path: 'keys/2' });
    await page.waitForSelector('dialog .note');
    check(/GEMINI_API_KEY/.test(await text(page, 'dialog .note')), 'its origin');
    check(await page.locator('[data-test=toggle]').isDisabled(), 'it cannot be disabled');
    check(!(await page.locator('[data-test=save-key]').count()), 'nothing can be saved');
    await page.check('[data-test=over]');
    check(await page.locator('#edit-id').isDisabled(), 'its name stays');
    await page.fill('#edit-weight', '9');
    await page.click('[data-test=save-key]');
    await page.waitForFunction(() => /adjusted in config.toml:31/.test(document.querySelector('dialog .note').textContent));
    same((await stage.api('GET', 'api/keys')).value.keys.find((one) => one.id === '2').configured_weight, 9, 'the weight in the file');
    await page.done();
  });

  test('the last usable key stays, and why is said', async () => {
    await state('trouble');
    await tell('fail', { path: '/api/keys/5', method: 'DELETE', status: 409, detail: 'the last usable key stays' });
    const page = await stage.page({ path: 'keys/5', expect: [/status of 409/] });
    await page.click('[data-test=remove]');
    await page.click('dialog:has([data-yes]) >> [data-yes]');
    await page.waitForSelector('dialog .trouble');
    check(/last usable key stays/.test(await text(page, 'dialog:has([data-yes]) >> .trouble')), 'the reason');
    await page.done();
  });

  test('a thousand keys and a thousand streams: few rows are there, the last one is found', async () => {
    await state('much');
    const page = await stage.page({ path: 'keys' });
    await page.waitForSelector('[data-test=keys] .rows-body .row');
    same(await page.getAttribute('[data-test=keys]', 'aria-rowcount'), '1001', 'the count');
    const rows = () => page.locator('.rows-body .row').count();
    check((await rows()) < 60, `${await rows()} rows stand in the page`);
    const frames = await page.evaluate(async () => {
      const times = [];
      let last = performance.now();
      for (let n = 0; n < 60; n += 1) {
        scrollBy(0, 120);
        await new Promise(requestAnimationFrame);
        times.push(performance.now() - last);
        last = performance.now();
      }
      return times.sort((a, b) => a - b);
    });
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    await page.waitForSelector('.rows-body .row[aria-rowindex="1001"]');
    check((await rows()) < 60, 'still few rows');
    await page.goto(`${stage.base}/#/streams`);
    await page.waitForSelector('[data-test=streams] .rows-body .row');
    same(await page.getAttribute('[data-test=streams]', 'aria-rowcount'), '1001', 'the streams');
    check((await rows()) < 60, 'few streams in the page');
    await page.done();
    return `frames while scrolling: median ${frames[30].toFixed(0)} ms, worst ${frames[59].toFixed(0)} ms`;
  });

  test('nothing moves under who reads further down: newer requests are counted until they are wanted', async () => {
    await state('trouble');
    const page = await stage.page({ path: 'requests' });
    await page.waitForSelector('.rows-body .row');
    await page.evaluate(() => scrollTo(0, 1500));
    const first = () => page.locator('.rows-body .row a').first().getAttribute('href');
    await page.waitForFunction(() => document.querySelector('.rows-body .row').getAttribute('aria-rowindex') !== '2');
    const before = await first();
    await page.waitForSelector('.newer button');
    same(await first(), before, 'the first row in sight');
    await page.click('.newer button');
    await page.waitForSelector('.newer', { state: 'detached' });
    same(await page.evaluate(() => scrollY), 0, 'back at the top');
    await page.done();
  });

  test('keys are searched, filtered by state and sorted', async () => {
    await state('trouble');
    const page = await stage.page({ path: 'keys' });
    await page.waitForSelector('[data-test=keys] .row');
    const ids = () => page.locator('.rows-body .opener .strong').allInnerTexts();
    await page.locator('.choice button', { hasText: 'Dead' }).click();
    same(await ids(), ['5', '9'], 'the dead ones');
    await page.locator('.choice button', { hasText: 'All' }).click();
    await page.fill('#key-text', 'quota');
    check((await ids()).includes('2') && !(await ids()).includes('1'), 'searched by reason');
    await page.fill('#key-text', 'no such thing');
    await page.waitForSelector('.nothing');
    await page.fill('#key-text', '');
    await page.locator('.rows-head .weight button').click();
    const weights = (await page.locator('.rows-body .weight').allInnerTexts()).map((one) => Number.parseInt(one, 10));
    same(weights, [...weights].sort((a, b) => b - a), 'sorted by weight');
    await page.done();
  });

  test('by keyboard alone: skip link, dialog, trap, Escape, and the focus comes back', async () => {
    await state('trouble');
    const page = await stage.page({ path: 'keys' });
    await page.waitForSelector('[data-test=keys] .row');
    const focused = () => page.evaluate(() => document.activeElement?.className + '|' + (document.activeElement?.id ?? '') + '|' + document.activeElement?.tagName);
    await page.evaluate(() => document.activeElement?.blur());
    await page.keyboard.press('Tab');
    check((await focused()).startsWith('skip'), `the skip link comes first: ${await focused()}`);
    await page.keyboard.press('Enter');
    check((await focused()).endsWith('main|MAIN'), 'it leads to the content');
    await page.locator('[data-test=add-key]').focus();
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    same(outline, 'solid', 'the focus is seen');
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog[open]');
    same(await page.evaluate(() => document.activeElement.id), 'add-secret', 'the first field has the focus');
    for (let n = 0; n < 30; n += 1) {
      await page.keyboard.press('Tab');
      check(await page.evaluate(() => document.querySelector('dialog').contains(document.activeElement)), 'the focus left the dialog');
    }
    await page.keyboard.press('Escape');
    await page.waitForSelector('dialog', { state: 'detached' });
    same(await page.evaluate(() => document.activeElement.dataset.test), 'add-key', 'the focus came back');
    await page.done();
  });

  test('the verdict and what was done are told to who cannot see them', async () => {
    await state('trouble');
    const page = await stage.page({ path: 'keys/5' });
    await page.waitForSelector('dialog');
    await page.click('[data-test=reset]');
    await page.waitForFunction(() => /rest is ended/.test(document.querySelector('.notices[aria-live=polite]').textContent));
    check(/^Degraded: \d of 12 keys (is|are) out\.$/.test(await text(page, '[data-test=verdict-live]')), `the live region: ${await text(page, '[data-test=verdict-live]')}`);
    await page.keyboard.press('Escape');
    await page.goto(`${stage.base}/#/overview`);
    await page.waitForSelector('.chart [role=img]');
    const label = await page.getAttribute('.chart [role=img]', 'aria-label');
    check(/Requests, .* to .*: .*answered/.test(label), `the chart in words: ${label}`);
    await page.locator('.figures-of summary').first().click();
    check((await page.locator('.figures-of[open] tbody tr').count()) >= 10, 'the chart as a table');
    await page.done();
  });

  test('colours and language are switched, kept, and drawn at once', async () => {
    await state('trouble');
    const page = await stage.page();
    await ready(page);
    const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const light = await ground();
    await page.click('[data-test=theme]');
    await page.click('[data-test=theme]');
    check((await ground()) !== light, 'dark is another ground');
    await page.click('[data-test=language]');
    check(/密钥/.test(await text(page, '[data-test=verdict]')), 'Chinese at once');
    same(await page.getAttribute('html', 'lang'), 'zh-CN', 'the language of the document');
    await page.reload();
    await ready(page);
    check((await ground()) !== light, 'dark is kept');
    check(/密钥/.test(await text(page, '[data-test=verdict]')), 'Chinese is kept');
    await page.done();
  });

  test('the chart is drawn: its canvas holds more than one colour', async () => {
    await state('trouble');
    const page = await stage.page();
    await page.waitForSelector('.chart canvas');
    await until(
      () =>
        page.evaluate(() => {
          const canvas = document.querySelector('.chart canvas');
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          const colours = new Set();
          for (let at = 0; at < data.length; at += 64) if (data[at + 3] > 200) colours.add(`${data[at]},${data[at + 1]},${data[at + 2]}`);
          return colours.size > 2;
        }),
      'the canvas has colours',
    );
    await page.done();
  });

  test('motion is reduced where that is wished', async () => {
    await state('well');
    const page = await stage.page({ reducedMotion: true });
    await page.waitForSelector('.link[data-state=live]');
    same(await page.evaluate(() => getComputedStyle(document.querySelector('.dot')).animationName), 'none', 'the animation');
    await page.done();
  });

  test('dialogs hold up to the audit too', async () => {
    await state('trouble');
    for (const dark of [false, true]) {
      const page = await stage.page({ path: 'keys/5', dark });
      await page.waitForSelector('dialog');
      same(await page.evaluate(audit), [], `key, ${dark ? 'dark' : 'light'}`);
      await page.goto(`${stage.base}/#/requests`);
      await page.locator('.rows-body .row', { hasText: 'waited' }).first().locator('a').first().click();
      await page.waitForSelector('.timeline');
      same(await page.evaluate(audit), [], `request, ${dark ? 'dark' : 'light'}`);
      await page.done();
    }
  });
}
