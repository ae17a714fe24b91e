// The difference of two texts, line by line.
export interface Line {
  kind: 'same' | 'out' | 'in' | 'gap';
  text: string;
  /** Its number in the old text and in the new. */
  old?: number;
  fresh?: number;
}

/** Beyond so many steps the middle is shown as taken out and put in whole. */
const WORK_MAX = 4_000_000;

/** All lines of both texts in order, by the longest common run of lines. */
export function compare(before: string, after: string): Line[] {
  const [a, b] = [before.split('\n'), after.split('\n')];
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const lines: Line[] = a.slice(0, head).map((text, at) => ({ kind: 'same', text, old: at + 1, fresh: at + 1 }));
  const [n, m] = [a.length - head - tail, b.length - head - tail];
  let [i, j] = [0, 0];
  if (n * m <= WORK_MAX) {
    // longest[i][j]: common lines of what follows line i of the one middle and line j of the other.
    const width = m + 1;
    const longest = new Uint32Array((n + 1) * width);
    for (let y = n - 1; y >= 0; y -= 1) {
      for (let x = m - 1; x >= 0; x -= 1) {
        const at = y * width + x;
        longest[at] = a[head + y] === b[head + x] ? longest[at + width + 1] + 1 : Math.max(longest[at + width], longest[at + 1]);
      }
    }
    while (i < n && j < m) {
      if (a[head + i] === b[head + j]) {
        lines.push({ kind: 'same', text: a[head + i], old: head + i + 1, fresh: head + j + 1 });
        i += 1;
        j += 1;
      } else if (longest[(i + 1) * width + j] >= longest[i * width + j + 1]) {
        lines.push({ kind: 'out', text: a[head + i], old: head + (i += 1) });
      } else lines.push({ kind: 'in', text: b[head + j], fresh: head + (j += 1) });
    }
  }
  while (i < n) lines.push({ kind: 'out', text: a[head + i], old: head + (i += 1) });
  while (j < m) lines.push({ kind: 'in', text: b[head + j], fresh: head + (j += 1) });
  for (let at = tail; at > 0; at -= 1) lines.push({ kind: 'same', text: a[a.length - at], old: a.length - at + 1, fresh: b.length - at + 1 });
  return lines;
}

/** Only what changed, with `around` lines of what did not on either side. */
export function folded(lines: Line[], around = 3): Line[] {
  const near = new Uint8Array(lines.length);
  lines.forEach((line, at) => {
    if (line.kind !== 'same') near.fill(1, Math.max(0, at - around), at + around + 1);
  });
  const kept: Line[] = [];
  lines.forEach((line, at) => {
    if (near[at]) kept.push(line);
    else if (kept.length > 0 && kept[kept.length - 1].kind !== 'gap') kept.push({ kind: 'gap', text: '' });
  });
  if (kept[kept.length - 1]?.kind === 'gap') kept.pop();
  return kept;
}

/** A unified difference as the gateway writes it. */
export function unified(diff: string): Line[] {
  const lines: Line[] = [];
  let [old, fresh] = [0, 0];
  for (const line of diff.replace(/\n$/, '').split('\n')) {
    const hunk = /^@@ -(\d+)(?:,\d+)? \+(\d+)/.exec(line);
    if (hunk) {
      [old, fresh] = [Number(hunk[1]), Number(hunk[2])];
      if (lines.length > 0) lines.push({ kind: 'gap', text: '' });
    } else if (old === 0 && fresh === 0) continue;
    else if (line.startsWith('+')) lines.push({ kind: 'in', text: line.slice(1), fresh: fresh++ });
    else if (line.startsWith('-')) lines.push({ kind: 'out', text: line.slice(1), old: old++ });
    else if (!line.startsWith('\\')) lines.push({ kind: 'same', text: line.slice(1), old: old++, fresh: fresh++ });
  }
  return lines;
}
