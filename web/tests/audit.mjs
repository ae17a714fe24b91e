// Looks a page over, inside the browser: names, labels, headings, landmarks, contrast.

/** Everything wrong that can be seen by a machine, as sentences. */
export function audit() {
  const wrong = [];
  const seen = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && element.getClientRects().length > 0;
  const name = (element) => (element.getAttribute('aria-label') ?? document.getElementById(element.getAttribute('aria-labelledby') ?? '')?.textContent ?? element.labels?.[0]?.textContent ?? element.textContent ?? '').trim();
  const dialog = document.querySelector('dialog[open]');
  const root = dialog ?? document;
  const short = (element) => element.outerHTML.slice(0, 120);
  for (const element of root.querySelectorAll('button, a[href], input, select, textarea, [role=meter], [role=img], nav, dialog')) {
    if (seen(element) && !name(element)) wrong.push(`nameless: ${short(element)}`);
  }
  for (const element of document.querySelectorAll('[id]')) {
    if (document.querySelectorAll(`[id="${CSS.escape(element.id)}"]`).length > 1) wrong.push(`id twice: ${element.id}`);
  }
  for (const table of root.querySelectorAll('table')) if (!table.querySelector('th[scope]')) wrong.push(`table without headers: ${short(table)}`);
  for (const table of root.querySelectorAll('[role=table]')) if (!table.querySelector('[role=columnheader]') || !table.hasAttribute('aria-rowcount')) wrong.push('windowed table without headers or count');
  if (document.querySelectorAll('h1').length !== 1) wrong.push(`${document.querySelectorAll('h1').length} h1`);
  if (document.querySelectorAll('main').length !== 1) wrong.push('not one main');
  if (document.documentElement.scrollWidth > innerWidth) wrong.push(`wider than the window by ${document.documentElement.scrollWidth - innerWidth}`);

  const parse = (text) => {
    const numbers = text.match(/-?[\d.]+(?:e-?\d+)?/g)?.map(Number) ?? [0, 0, 0, 0];
    const scale = text.startsWith('color(') ? 255 : 1;
    return { r: numbers[0] * scale, g: numbers[1] * scale, b: numbers[2] * scale, a: numbers[3] ?? 1 };
  };
  const over = (top, under) => ({ r: top.r * top.a + under.r * (1 - top.a), g: top.g * top.a + under.g * (1 - top.a), b: top.b * top.a + under.b * (1 - top.a), a: 1 });
  const light = ({ r, g, b }) => {
    const [x, y, z] = [r, g, b].map((part) => (part / 255 <= 0.03928 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.a > 0) layers.push(colour);
      if (colour.a === 1 || one.tagName === 'DIALOG') break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), parse(getComputedStyle(document.documentElement).backgroundColor));
  };
  const walker = document.createTreeWalker(dialog ?? document.body, NodeFilter.SHOW_TEXT);
  const told = new Set();
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !seen(element) || element.closest('.unseen, :disabled, .skip, option, noscript')) continue;
    const style = getComputedStyle(element);
    const under = ground(element);
    const text = over(parse(style.color), under);
    const [bright, dim] = [light(text), light(under)].sort((a, b) => b - a);
    const ratio = (bright + 0.05) / (dim + 0.05);
    const size = Number.parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const what = `${element.tagName}.${element.className} "${walker.currentNode.textContent.trim().slice(0, 30)}"`;
    if (ratio < (large ? 3 : 4.5) && size > 0 && !told.has(element.className)) {
      told.add(element.className);
      wrong.push(`contrast ${ratio.toFixed(2)}: ${what}`);
    }
  }
  return wrong;
}
