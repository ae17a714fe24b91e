// What every test stands on: a browser, pages that tell of every violation, and a list of tests.
import { chromium } from 'playwright-core';

export const PATIENCE_MS = Number(process.env.PATIENCE_MS ?? 30_000);
const tests = [];

export function test(name, run) {
  tests.push({ name, run });
}

export function check(holds, message) {
  if (!holds) throw new Error(message);
}

export function same(is, should, message) {
  check(JSON.stringify(is) === JSON.stringify(should), `${message}: ${JSON.stringify(is)} instead of ${JSON.stringify(should)}`);
}

/** Asks until it holds; what does not hold by the end fails with the last answer. */
export async function until(ask, message, patience = PATIENCE_MS) {
  const end = Date.now() + patience;
  for (;;) {
    const said = await ask();
    if (said) return said;
    if (Date.now() > end) throw new Error(`never: ${message}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

export class Stage {
  constructor(base, { token = '', mock = '' } = {}) {
    Object.assign(this, { base, token, mock });
  }

  async open() {
    this.browser ??= await chromium.launch({
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-dev-shm-usage'],
    });
  }

  async close() {
    await this.browser?.close();
  }

  /** A page on which a violation of the policy, an error in the console or a request to another host is a failure. */
  async page({ path = '', narrow = false, dark = false, lang = 'en-GB', expect = [], reducedMotion, signIn = true } = {}) {
    await this.open();
    const context = await this.browser.newContext({
      viewport: narrow ? { width: 390, height: 844 } : { width: 1440, height: 900 },
      colorScheme: dark ? 'dark' : 'light',
      locale: lang,
      reducedMotion: reducedMotion ? 'reduce' : 'no-preference',
    });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    const faults = [];
    const { origin } = new URL(this.base);
    await page.exposeFunction('tellViolation', (said) => faults.push(`policy: ${said}`));
    await page.addInitScript(() => addEventListener('securitypolicyviolation', (event) => window.tellViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`)));
    page.on('pageerror', (error) => faults.push(`error: ${error.message}`));
    page.on('console', (said) => {
      if (!['error', 'warning'].includes(said.type()) || expect.some((allowed) => allowed.test(said.text()))) return;
      faults.push(`console: ${said.text()}`);
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(origin) && !/^(data|blob):/.test(request.url())) faults.push(`foreign request: ${request.url()}`);
    });
    page.done = async () => {
      await context.close();
      check(faults.length === 0, faults.join('\n'));
    };
    if (this.token && signIn) {
      const answer = await context.request.post(`${this.base}/api/session`, { data: { token: this.token }, headers: { 'content-type': 'application/json' } });
      check(answer.status() === 204, `the login was answered by ${answer.status()}`);
    }
    await page.goto(`${this.base}/${path ? `#/${path}` : ''}`);
    return page;
  }

  /** The API, beside the page. */
  async api(method, path, body, headers = {}) {
    const answer = await fetch(`${this.base}/${path}`, {
      method,
      headers: { ...(this.token ? { authorization: `Bearer ${this.token}` } : {}), ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, value: text && /json/.test(answer.headers.get('content-type') ?? '') ? JSON.parse(text) : text };
  }

  /** Tells the mocked Google (or the fake) what its next answer suffers from. */
  async script(line) {
    const answer = await fetch(`${this.mock}/mock/script`, { method: 'POST', body: line });
    check(answer.ok, `the mock refused "${line}"`);
  }
}

export const ready = (page) => page.waitForFunction(() => document.querySelector('main h1') && !document.querySelector('.bone'));

/** Runs what was collected so far, one after the other; tells how many failed. */
export async function run(title, only) {
  let failed = 0;
  const mine = tests.splice(0).filter(({ name }) => !only || only.test(name));
  for (const { name, run } of mine) {
    const began = Date.now();
    try {
      const note = await run();
      console.log(`ok    ${title}: ${name} (${Date.now() - began} ms)${note ? ` ${note}` : ''}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL  ${title}: ${name}\n${String(error.stack ?? error).split('\n').slice(0, 14).join('\n')}`);
    }
  }
  return { failed, ran: mine.length };
}
