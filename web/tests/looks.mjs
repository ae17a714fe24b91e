// Every page in every state, in both languages, colours and widths: no overflow, no nameless control, enough contrast.
import { audit } from './audit.mjs';
import { ready, same, test } from './stage.mjs';

const PATHS = ['overview', 'keys', 'streams', 'errors', 'requests', 'playground', 'configuration', 'configuration/effective', 'configuration/history', 'configuration/process'];

export function looks(stage, state) {
  for (const [name, given] of [
    ['wide, light, in English', {}],
    ['wide, dark, in Chinese', { dark: true, lang: 'zh-CN' }],
    ['narrow, light, in Chinese', { narrow: true, lang: 'zh-CN' }],
    ['narrow, dark, in English', { narrow: true, dark: true }],
  ]) {
    test(`every page in every state stands up to the audit: ${name}`, async () => {
      for (const world of ['trouble', 'none', 'much', 'well']) {
        await state(world);
        const page = await stage.page(given);
        for (const path of PATHS) {
          await page.goto(`${stage.base}/#/${path}`);
          await ready(page);
          same(await page.evaluate(audit), [], `${path}, ${world}`);
        }
        await page.done();
      }
    });
  }
}
