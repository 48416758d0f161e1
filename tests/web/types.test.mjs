// The types say what the modules do: a program that uses both packages compiles, one that misuses them does not.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { install } from './packages.mjs';

const compiler = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../node_modules/typescript/bin/tsc');
const packages = install();
after(() => packages.remove());

const right = `
import { followJob, followBatch, openSession, StagemillError, type JobStatus } from '@stagemill/client';
import { Api } from '@stagemill/client/rest';
import { createElement } from 'react';
import { StagemillProgress, useStagemillJob } from '@stagemill/react';

const job = followJob('j', { token: async () => 't', reconnectTries: Infinity, since: 4 });
job.on('status', (word) => { const status: JobStatus | 'connecting' | 'connected' | 'disconnected' = word; void status; });
job.on('progress', (event) => { const seq: number | undefined = event.seq; void seq; });
job.on('change', (now) => { const pct: number = now.pct; void pct; });
job.done().then((result) => result?.playlist, (error: StagemillError) => error.code);
(async () => { for await (const event of job) if (event.type === 'failed') break; })();
followBatch('b').on('change', (now) => now.failedFiles + 1);
openSession().subscribe('all', { since: 'cursor', minStep: 1 });
new Api({ token: null }).upload(new Blob(['x']), { name: 'a', onProgress: ({ loaded }) => loaded });
export function View() { const now = useStagemillJob('j'); return createElement('p', null, now.status, String(now.ended)); }
createElement(StagemillProgress, { jobId: 'j', onCompleted: (result) => result?.playlist });
`;
const wrong = `
import { followJob } from '@stagemill/client';
followJob(5);
followJob('j', { reconnectTries: 'many' });
followJob('j').snapshot.pct = 3;
`;

function compile(source, name = 'program.ts') {
  writeFileSync(path.join(packages.folder, name), source);
  const words = [
    '--noEmit',
    '--strict',
    '--target',
    'es2022',
    '--module',
    'nodenext',
    '--lib',
    'es2022,dom,dom.iterable',
    '--types',
    '',
    '--jsx',
    'react-jsx',
    name,
  ];
  try {
    execFileSync(process.execPath, [compiler, ...words], { cwd: packages.folder, encoding: 'utf8' });
    return [];
  } catch (failure) {
    return failure.stdout.split('\n').filter((line) => line.includes('error TS'));
  }
}

test('a program that uses the packages compiles', () => {
  writeFileSync(path.join(packages.folder, 'package.json'), '{"type":"module"}');
  assert.deepEqual(compile(right), []);
});

test('what the README shows of React compiles', () => {
  const readme = readFileSync(new URL('../../web/README.md', import.meta.url), 'utf8');
  assert.deepEqual(compile(readme.split('```tsx\n')[1].split('```')[0], 'readme.tsx'), []);
});

test('misuse does not', () => {
  const faults = compile(wrong);
  assert.deepEqual(
    faults.map((line) => Number(line.match(/\((\d+),/)[1])),
    [3, 4, 5],
    faults.join('\n'),
  );
});

test('every exported name has a type', () => {
  for (const [module, types] of [
    ['client/stagemill.js', 'client/stagemill.d.ts'],
    ['client/rest.js', 'client/rest.d.ts'],
    ['react/index.js', 'react/index.d.ts'],
  ]) {
    const read = (name) => readFileSync(path.join(packages.modules, '@stagemill', name), 'utf8');
    const names = [...read(module).matchAll(/^export (?:async )?(?:const|class|function) (\w+)/gm)].map(
      (found) => found[1],
    );
    assert.ok(names.length);
    for (const name of names)
      assert.match(
        read(types),
        new RegExp(`export (declare )?(const|class|function) ${name}\\b`),
        `${types} lacks ${name}`,
      );
  }
});
