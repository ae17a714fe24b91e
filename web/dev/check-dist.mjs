// Builds the dashboard anew into a temporary directory and compares it with the committed one, byte for byte.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { gunzipSync } from 'node:zlib';
import { files, twins } from './twins.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const fresh = mkdtempSync(join(tmpdir(), 'geminate-web-'));
try {
  await build({ root, logLevel: 'warn', build: { outDir: fresh, emptyOutDir: true } });
  twins(fresh);
  const committed = join(root, 'dist');
  const names = [...new Set([...files(committed), ...files(fresh)])].sort();
  const read = (dir, name) => {
    try {
      return readFileSync(join(dir, name));
    } catch {
      return null;
    }
  };
  const differing = names.filter((name) => {
    const [one, other] = [read(committed, name), read(fresh, name)];
    if (!one || !other) return true;
    // Another zlib may pack the same bytes otherwise: what is in them counts.
    return name.endsWith('.gz') ? !gunzipSync(one).equals(gunzipSync(other)) : !one.equals(other);
  });
  if (differing.length > 0) {
    console.error(`dist is not what the source builds; run "npm run build" and commit it: ${differing.join(', ')}`);
    process.exitCode = 1;
  } else {
    console.log(`dist is what the source builds: ${names.join(', ')}`);
  }
} finally {
  rmSync(fresh, { recursive: true, force: true });
}
