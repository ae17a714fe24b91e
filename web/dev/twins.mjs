// Writes the gzip twin of every file of a built directory: level 9, no name and no time in the header, so that the
// same source gives the same bytes.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';

export function files(dir, under = '') {
  return readdirSync(join(dir, under), { withFileTypes: true })
    .flatMap((entry) => {
      const path = under ? `${under}/${entry.name}` : entry.name;
      return entry.isDirectory() ? files(dir, path) : [path];
    })
    .sort();
}

export function twins(dir) {
  for (const path of files(dir).filter((path) => !path.endsWith('.gz'))) {
    const packed = gzipSync(readFileSync(join(dir, path)), { level: 9 });
    // The byte that names the operating system differs between builds of zlib: 255 is "unknown".
    packed[9] = 255;
    writeFileSync(join(dir, `${path}.gz`), packed);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const dir = process.argv[2] ?? 'dist';
  twins(dir);
  for (const path of files(dir)) console.log(`${String(statSync(join(dir, path)).size).padStart(8)}  ${path}`);
}
