// packages.mjs - both packages as npm would publish them, installed into a folder of their own.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const foreign = ['react', 'react-test-renderer', 'react-is', 'scheduler', 'ws', '@types'];

export function install() {
  const folder = mkdtempSync(path.join(tmpdir(), 'stagemill-packages-'));
  const modules = path.join(folder, 'node_modules');
  mkdirSync(path.join(modules, '@stagemill'), { recursive: true });
  for (const name of foreign) symlinkSync(path.resolve(here, '../node_modules', name), path.join(modules, name));
  for (const name of ['client', 'react']) {
    const packed = execFileSync('npm', ['pack', '--silent', '--pack-destination', folder], {
      cwd: path.resolve(here, '../../web', name),
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const into = path.join(modules, '@stagemill', name);
    mkdirSync(into);
    execFileSync('tar', [
      '-xzf',
      path.join(folder, packed.trim().split('\n').pop()),
      '-C',
      into,
      '--strip-components=1',
    ]);
  }
  return { folder, modules, remove: () => rmSync(folder, { recursive: true }) };
}
