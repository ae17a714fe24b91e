// What can be said of the source and of what was built, without a browser.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { files } from '../dev/twins.mjs';
import { check, same, test } from './stage.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const FIRST_PAGE_MAX = 150_000;
const read = (path) => readFileSync(join(ROOT, path), 'utf8');
const languages = () => ['en', 'zh'].map((name) => JSON.parse(read(`src/locales/${name}.json`)));
const sources = () => files(join(ROOT, 'src')).filter((path) => /\.(vue|ts)$/.test(path)).map((path) => [path, read(`src/${path}`)]);

export function source() {
  test('every sentence is there in both languages, with the same blanks', () => {
    const [en, zh] = languages();
    same(Object.keys(zh), Object.keys(en), 'the keys of zh.json');
    const blanks = (text) => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort().join();
    for (const key of Object.keys(en)) {
      check(en[key] && zh[key], `${key} is empty`);
      const [one, other] = [blanks(en[key]), blanks(zh[key])];
      check(one === other, `${key}: ${one} and ${other}`);
    }
  });

  test('every sentence that the source names is there, and none is there for nothing', () => {
    const [en] = languages();
    const all = sources().map(([, text]) => text).join('\n');
    for (const [, key] of all.matchAll(/\bt\('([\w.]+)'/g)) check(key in en, `${key} is not in en.json`);
    // Built from a code at run time.
    const groups = [...all.matchAll(/word\('(\w+)'|t\(`(\w+)\.\$\{|: Key => `(\w+)\./g)].map(([, one, other, third]) => one ?? other ?? third);
    const unused = Object.keys(en).filter((key) => !groups.includes(key.split('.')[0]) && !all.includes(`'${key}'`));
    same(unused, [], 'sentences that nothing says');
  });

  test('every reason and verdict of the gateway has its words', () => {
    const [en] = languages();
    const codes = (path) => [...readFileSync(join(ROOT, '..', path), 'utf8').matchAll(/Self::\w+ (?: \{[^}]*\}|\(_?\))? => "(\w+)"/g)].map(([, code]) => code);
    for (const [group, path] of [['reason', 'src/pool/reason.rs'], ['verdict', 'src/verdict.rs'], ['refusal', 'src/error.rs'], ['did', 'src/record/did.rs']].filter(([, path]) => existsSync(join(ROOT, '..', path)))) {
      const missing = codes(path).filter((code) => !(`${group}.${code}` in en));
      same(missing, [], `codes of ${path} without words`);
    }
  });

  test('no template holds an inline style, no source an eval', () => {
    for (const [path, text] of sources()) {
      check(!/[^:]style="/.test(text), `${path} has a literal style`);
      check(!/\beval\(|new Function|innerHTML|v-html/.test(text), `${path} makes code or markup of text`);
    }
  });

  test('nothing committed names a registry or another host to load from', () => {
    check(!/"resolved"/.test(read('package-lock.json')), 'package-lock.json says where packages were resolved');
    for (const path of ['dist/index.html', 'dist/assets/app.css']) check(!/https?:\/\/(?!www\.w3\.org)/.test(read(path)), `${path} names another host`);
  });

  test('the built files are few, their twins true, and the first page small', () => {
    const dist = join(ROOT, 'dist');
    same(files(dist), ['assets/app.css', 'assets/app.css.gz', 'assets/app.js', 'assets/app.js.gz', 'index.html', 'index.html.gz'], 'the files of dist');
    let size = 0;
    for (const path of files(dist).filter((name) => name.endsWith('.gz'))) {
      check(gunzipSync(readFileSync(join(dist, path))).equals(readFileSync(join(dist, path.slice(0, -3)))), `${path} is not its original`);
      size += statSync(join(dist, path)).size;
    }
    check(size < FIRST_PAGE_MAX, `the first page is ${size} bytes`);
    const bundle = read('dist/assets/app.js');
    check(!/new Function\(|\beval\(/.test(bundle), 'the bundle makes code of text');
    return `first page ${(size / 1000).toFixed(1)} KB compressed`;
  });

  test('files stay short', () => {
    const long = ['src/pages', 'src/parts', 'src', 'dev', 'tests'].flatMap((dir) => readdirSync(join(ROOT, dir)).map((name) => `${dir}/${name}`)).filter((path) => /\.(vue|ts|mjs)$/.test(path) && read(path).split('\n').length > 400);
    same(long, [], 'files of more than 400 lines');
  });
}
