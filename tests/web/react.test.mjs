// The hook and the component, from the packages as published, in real React, against a scripted daemon.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, test } from 'node:test';
import { act, createElement as h, StrictMode } from 'react';
import { create } from 'react-test-renderer';
import { WebSocket, WebSocketServer } from 'ws';
import { install } from './packages.mjs';

globalThis.IS_REACT_ACT_ENVIRONMENT = true;
const packages = install();
const { StagemillProgress, useStagemillJob } = await import(path.join(packages.modules, '@stagemill/react/index.js'));
const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => 'stagemill.v1' });
await new Promise((resolve) => server.once('listening', resolve));
const options = { server: `http://127.0.0.1:${server.address().port}`, WebSocket, reconnectDelayMs: 10 };
const sockets = [];
server.on('connection', (socket, request) => {
  const id = new URL(request.url, 'http://x').searchParams.get('jobId');
  sockets.push({ id, socket, protocols: request.headers['sec-websocket-protocol'] });
  socket.tell = (event) => socket.send(JSON.stringify({ jobId: id, ...event }));
  socket.tell({ type: 'state', seq: 1, status: 'processing', pct: 10, stage: 'encode', message: 'encoding' });
});
after(() => {
  for (const client of server.clients) client.terminate();
  server.close();
  packages.remove();
});

const settle = () => act(() => new Promise((resolve) => setTimeout(resolve, 60)));
const text = (tree) => tree.root.findByProps({ role: 'status' }).children.join('');
const value = (tree) => tree.root.findByProps({ role: 'progressbar' }).props['aria-valuenow'];

test('the bar follows a job to its end and keeps its socket over renderings', async () => {
  const results = [];
  const bar = (n) =>
    h(StagemillProgress, {
      jobId: 'j1',
      ...options,
      token: () => `T${n}`,
      onCompleted: (result) => results.push([n, result]),
    });
  let tree;
  await act(async () => {
    tree = create(bar(1));
  });
  await settle();
  assert.equal(text(tree), 'encoding, 10 %');
  await act(async () => tree.update(bar(2)));
  const { socket } = sockets.at(-1);
  socket.tell({ type: 'progress', seq: 1, pct: 55.5, stage: 'encode', message: 'still encoding' });
  await settle();
  assert.deepEqual([text(tree), value(tree)], ['still encoding, 55 %', 55]);
  socket.terminate();
  await settle();
  assert.equal(sockets.length, 2);
  assert.match(sockets[1].protocols, /stagemill\.token\.T2/); // the token of the latest rendering
  sockets[1].socket.tell({ type: 'completed', seq: 2, result: { playlist: 'p' } });
  sockets[1].socket.close(1000);
  await settle();
  assert.deepEqual([text(tree), value(tree)], ['completed', 100]);
  assert.deepEqual(results, [[2, { playlist: 'p' }]]); // once, by the latest listener
  await act(async () => tree.unmount());
});

test('another id follows another job; none follows none; unmounting closes', async () => {
  const seen = [];
  const Probe = ({ id }) => {
    const job = useStagemillJob(id, options);
    seen.push(`${job.id} ${job.status}`);
    return null;
  };
  let tree;
  await act(async () => {
    tree = create(h(Probe, { id: null }));
  });
  assert.deepEqual(seen, ['null null']);
  await act(async () => tree.update(h(Probe, { id: 'a' })));
  await settle();
  const first = sockets.at(-1);
  await act(async () => tree.update(h(Probe, { id: 'b' })));
  await settle();
  assert.deepEqual([first.id, first.socket.readyState, sockets.at(-1).id], ['a', WebSocket.CLOSED, 'b']);
  assert.equal(seen.at(-1), 'b processing');
  await act(async () => tree.unmount());
  await settle();
  assert.equal(sockets.at(-1).socket.readyState, WebSocket.CLOSED);
});

test('strict mode mounts twice and leaves one socket', async () => {
  let tree;
  await act(async () => {
    tree = create(
      h(
        StrictMode,
        null,
        h(StagemillProgress, { jobId: 's', ...options }, (job) => h('b', null, `${job.status} ${job.pct}`)),
      ),
    );
  });
  await settle();
  assert.equal(tree.root.findByType('b').children.join(''), 'processing 10');
  assert.equal(sockets.filter(({ id, socket }) => id === 's' && socket.readyState === WebSocket.OPEN).length, 1);
  await act(async () => tree.unmount());
});
