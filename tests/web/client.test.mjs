// The client library against a scripted daemon: every rule of reconnecting and resuming, in real sockets.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import {
  defaults,
  emptyJob,
  followBatch,
  followJob,
  openSession,
  reconnectDelay,
  reduceJob,
  StagemillError,
} from '../../web/client/stagemill.js';

const servers = [];
after(() => servers.forEach((server) => server.close()));

/** A daemon that does what `script(socket, query, nth)` says at each connection. */
async function daemon(script) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => 'stagemill.v1' });
  servers.push(server);
  await new Promise((resolve) => server.once('listening', resolve));
  const seen = { connections: [], times: [] };
  server.on('connection', (socket, request) => {
    const url = new URL(request.url, 'http://x');
    const query = Object.fromEntries(url.searchParams);
    seen.connections.push({ path: url.pathname, query, protocols: request.headers['sec-websocket-protocol'] });
    seen.times.push(performance.now());
    socket.tell = (message) => socket.send(JSON.stringify({ jobId: 'j1', ...message }));
    script(socket, query, seen.connections.length);
  });
  return { url: `http://127.0.0.1:${server.address().port}`, seen, server };
}
const quick = { WebSocket, reconnectDelayMs: 10, reconnectMaxDelayMs: 40, token: 'T' };
const closed = (line) => new Promise((resolve) => line.on('close', resolve));

test('defaults are 2 s and 5 tries; pauses double, spread by jitter, up to the cap', () => {
  assert.equal(defaults.reconnectDelayMs, 2000);
  assert.equal(defaults.reconnectTries, 5);
  const plain = { random: () => 0.5 };
  assert.deepEqual(
    [0, 1, 2, 3, 4, 9].map((n) => reconnectDelay(n, plain)),
    [2000, 4000, 8000, 16000, 30000, 30000],
  );
  const spread = Array.from({ length: 200 }, () => reconnectDelay(0));
  assert.ok(spread.every((ms) => ms >= 1600 && ms <= 2400) && new Set(spread).size > 20);
  assert.ok(reconnectDelay(50, { random: () => 1 }) <= 30000);
});

test('a job from state to result: status words in order, the token in the subprotocol alone', async () => {
  const { url, seen } = await daemon((socket) => {
    socket.tell({ type: 'state', seq: 1, status: 'queued', pct: 0, stage: null });
    socket.tell({ type: 'started', seq: 2 });
    socket.tell({
      type: 'progress',
      seq: 2,
      stage: 'encode',
      pct: 40,
      stagePct: 80,
      message: 'at work',
      etaSeconds: 9,
    });
    socket.tell({ type: 'completed', seq: 3, result: { clipUrls: ['a'] } });
    socket.close(1000, 'Job complete');
  });
  const words = [];
  const job = followJob('j1', { ...quick, server: url });
  assert.equal(job.status, 'connecting');
  job.on('status', (word) => words.push(word));
  job.on('progress', () =>
    assert.deepEqual([job.snapshot.stage, job.snapshot.etaSeconds, job.snapshot.stages.encode.pct], ['encode', 9, 80]),
  );
  const gone = closed(job);
  assert.deepEqual(await job.done(), { clipUrls: ['a'] });
  assert.equal((await gone).code, 1000);
  assert.deepEqual(words, ['connected', 'queued', 'processing', 'completed']);
  assert.equal(job.status, 'completed');
  assert.deepEqual(await job.done(), { clipUrls: ['a'] }); // also afterwards
  assert.deepEqual(seen.connections, [
    { path: '/ws', query: { jobId: 'j1' }, protocols: 'stagemill.v1,stagemill.token.T' },
  ]);
});

test('events exactly once over broken connections, resumed by number, with a fresh token each time', async () => {
  const { url, seen } = await daemon((socket, query, nth) => {
    const since = Number(query.since ?? 0);
    socket.tell({ type: 'state', seq: nth * 10, status: 'processing', pct: nth });
    // The daemon's replay begins a little too early: what was seen is dropped.
    for (let seq = Math.max(nth === 1 ? 11 : 1, since - 3); seq <= nth * 10 + 5 && seq < 45; seq++)
      socket.tell({ type: 'stage', seq, stage: 's', status: 'started' });
    if (nth < 4) return socket.terminate();
    socket.tell({ type: 'failed', seq: 45, error: 'no video', code: 'invalid', stage: 's', totalAttempts: 4 });
    socket.close(1000);
  });
  let token = 0;
  const seqs = [];
  const job = followJob('j1', { ...quick, server: url, token: async () => `T${++token}` });
  job.on('stage', (event) => seqs.push(event.seq));
  await assert.rejects(
    job.done(),
    (e) => e instanceof StagemillError && e.message === 'no video' && e.stage === 's' && e.code === 'invalid',
  );
  assert.deepEqual(
    seqs,
    Array.from({ length: 34 }, (_, i) => i + 11),
  );
  assert.deepEqual(
    seen.connections.map((c) => c.query.since),
    [undefined, '15', '25', '35'],
  );
  assert.equal(seen.connections[3].protocols, 'stagemill.v1,stagemill.token.T4');
  assert.equal(job.status, 'failed');
});

test('a job that had ended gives its last event to one who comes later', async () => {
  const { url } = await daemon((socket) => {
    socket.tell({ type: 'state', seq: 7, status: 'completed', pct: 100, result: { a: 1 } });
    socket.tell({ type: 'completed', seq: 7, result: { a: 1 } });
    socket.close(1000, 'Job complete');
  });
  const job = followJob('j1', { ...quick, server: url });
  const types = [];
  job.on('*', (event) => types.push(event.type));
  assert.deepEqual(await job.done(), { a: 1 });
  assert.deepEqual(types, ['state', 'completed']);
});

for (const code of [4001, 4003, 4004, 1000]) {
  test(`${code} is final`, async () => {
    const { url, seen } = await daemon((socket) => socket.close(code, 'no'));
    const job = followJob('j1', { ...quick, server: url });
    const end = await closed(job);
    assert.equal(end.code, code);
    await assert.rejects(job.done(), (e) => e.code === code);
    await new Promise((resolve) => setTimeout(resolve, 60));
    assert.equal(seen.connections.length, 1);
    assert.equal(job.status, 'disconnected');
  });
}

test('4008 comes back at once, even when pauses are long', async () => {
  const { url, seen } = await daemon((socket, query, nth) => {
    socket.tell({ type: 'state', seq: 1, status: 'processing', pct: 0 });
    if (nth < 3) return socket.close(4008, 'too slow');
    socket.tell({ type: 'completed', seq: 2, result: null });
    socket.close(1000);
  });
  const job = followJob('j1', { ...quick, server: url, reconnectDelayMs: 60000, reconnectMaxDelayMs: 60000 });
  await job.done();
  assert.equal(seen.connections.length, 3);
  assert.ok(seen.times[2] - seen.times[0] < 2000);
});

test('gives up after the tries it was given; opening sets the count back', async () => {
  const never = followJob('j1', { ...quick, server: 'http://127.0.0.1:9', reconnectTries: 3 });
  const pauses = [];
  never.on('connection', (change) => change.inMs !== undefined && pauses.push(change.attempt));
  await closed(never);
  assert.deepEqual(pauses, [1, 2, 3]);
  assert.equal(never.status, 'disconnected');

  const { url, seen } = await daemon((socket, query, nth) =>
    nth < 9 ? socket.close(1001, 'drain') : socket.close(1000),
  );
  await closed(followJob('j1', { ...quick, server: url, reconnectTries: 2 }));
  assert.equal(seen.connections.length, 9); // eight falls, never two tries in a row without an open one
});

test('a token function that fails costs a try, not the page', async () => {
  let asked = 0;
  const job = followJob('j1', {
    ...quick,
    server: 'http://127.0.0.1:9',
    reconnectTries: 2,
    token: () => {
      asked++;
      throw new Error('no session');
    },
  });
  const end = await closed(job);
  assert.equal(asked, 3);
  assert.match(end.reason, /no session/);
});

test('closing ends everything, also while it waits for the next try', async () => {
  const job = followJob('j1', { ...quick, server: 'http://127.0.0.1:9', reconnectDelayMs: 60000 });
  await new Promise((resolve) => job.on('connection', (c) => c.inMs && resolve()));
  const end = closed(job);
  job.close();
  assert.equal((await end).byClient, true);
  for await (const event of job) assert.fail(event.type);
});

test("a listener's fault does not stop the stream", async () => {
  const { url } = await daemon((socket) => {
    socket.tell({ type: 'state', seq: 0, status: 'queued' });
    socket.tell({ type: 'completed', seq: 1, result: 5 });
    socket.close(1000);
  });
  const faults = [];
  const keep = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (error) => faults.push(error.message));
  try {
    const job = followJob('j1', { ...quick, server: url });
    job.on('state', () => {
      throw new Error('mine');
    });
    assert.equal(await job.done(), 5);
  } finally {
    process.removeAllListeners('uncaughtException');
    keep.forEach((listener) => process.on('uncaughtException', listener));
  }
  assert.deepEqual(faults, ['mine']);
});

test('a batch counts its files', async () => {
  const { url, seen } = await daemon((socket) => {
    const tell = (message) => socket.send(JSON.stringify({ batchId: 'b1', ...message }));
    tell({ type: 'batch-started', seq: 1, totalFiles: 2 });
    tell({
      type: 'batch-progress',
      seq: 2,
      currentFile: 1,
      totalFiles: 2,
      filename: 'a.mp4',
      jobId: 'j1',
      status: 'completed',
    });
    tell({ type: 'completed', jobId: 'j1', seq: 9, result: {} });
    tell({ type: 'batch-progress', seq: 3, currentFile: 2, totalFiles: 2, filename: 'b.mp4', status: 'oversized' });
    tell({ type: 'batch-completed', seq: 4, processedFiles: 1, failedFiles: 0, oversizedFiles: 1, skippedFiles: 0 });
    socket.close(1000);
  });
  const batch = followBatch('b1', { ...quick, server: url });
  const seqs = [];
  batch.on('batch-progress', (event) => seqs.push([event.seq, batch.snapshot.pct, batch.snapshot.fileStatus]));
  const end = await batch.done();
  assert.equal(end.oversizedFiles, 1);
  assert.deepEqual(seqs, [
    [2, 50, 'completed'],
    [3, 100, 'oversized'],
  ]);
  assert.deepEqual(seen.connections[0].query, { batchId: 'b1' });
});

test('a session subscribes again after a fall, each topic where it was', async () => {
  const asked = [];
  const { url } = await daemon((socket, query, nth) => {
    socket.on('message', (data) => {
      const message = JSON.parse(data);
      asked.push([nth, message.type, message.topic, message.since]);
      if (message.topic === 'asset:secret')
        return socket.tell({ type: 'error', id: message.id, code: 'not-found', message: 'no such asset' });
      socket.tell({ type: message.type + 'd', topic: message.topic, id: message.id });
      if (message.type === 'subscribe' && message.topic === 'all') {
        const from = Number(message.since);
        for (let cursor = from + 1; cursor <= from + 3; cursor++)
          socket.tell({ type: 'stage', jobId: `j${cursor % 2}`, seq: cursor, cursor, stage: 's', status: 'started' });
        if (nth === 1) setTimeout(() => socket.terminate(), 30);
      }
    });
  });
  const session = openSession({ ...quick, server: url });
  const cursors = [];
  session.on('stage', (event) => cursors.push(event.cursor));
  assert.equal((await session.subscribe('all', { since: 100, minStep: 1 })).type, 'subscribed');
  await assert.rejects(session.subscribe('asset:secret'), (e) => e.code === 'not-found');
  await session.subscribe('job:j1', { since: 0 });
  await session.unsubscribe('job:j1');
  await new Promise((resolve) => session.on('open', resolve));
  await new Promise((resolve) => session.on('stage', (event) => event.cursor === 106 && resolve()));
  assert.deepEqual(cursors, [101, 102, 103, 104, 105, 106]);
  assert.deepEqual(
    asked.filter(([nth]) => nth === 2),
    [[2, 'subscribe', 'all', 103]],
  );
  session.close();
});

test('the reduced job: retries, rounds, stages, errors', () => {
  const events = [
    {
      type: 'queued',
      jobId: 'j',
      seq: 1,
      at: 't1',
      queuePosition: 3,
      reason: 'waits for a slot',
      attempt: 1,
      maxAttempts: 4,
    },
    { type: 'started', jobId: 'j', seq: 2, startedAt: 't2' },
    { type: 'stage', jobId: 'j', seq: 3, at: 't3', stage: 'a', status: 'started', attempt: 1 },
    { type: 'progress', jobId: 'j', seq: 3, stage: 'a', pct: 30, stagePct: 60 },
    { type: 'retrying', jobId: 'j', seq: 4, stage: 'a', attempt: 2, delayMs: 2000, retryAt: 't9', error: 'no route' },
  ];
  let job = events.reduce(reduceJob, emptyJob);
  assert.deepEqual(
    [job.status, job.pct, job.stages.a.status, job.retryAt, job.attempt],
    ['retrying', 30, 'delayed', 't9', 2],
  );
  job = reduceJob(job, { type: 'stage', seq: 5, stage: 'a', status: 'started', attempt: 2 });
  assert.deepEqual(
    [job.status, job.stages.a.status, job.stages.a.pct, job.retryAt],
    ['processing', 'running', 0, null],
  );
  job = reduceJob(job, { type: 'failed', seq: 6, stage: 'a', error: 'no route', code: 'lost' });
  assert.deepEqual([job.status, job.error], ['failed', { message: 'no route', stage: 'a', code: 'lost' }]);
  job = reduceJob(job, { type: 'queued', seq: 7, round: 2, attempt: 1 });
  assert.deepEqual([job.status, job.pct, job.error, job.round, job.lastSeq], ['queued', 0, null, 2, 7]);
  assert.equal(reduceJob(job, { type: 'paused', seq: 8, status: 'paused' }).status, 'paused');
});

test('a gap says where it goes on, also back to the beginning of another store', async () => {
  const { url } = await daemon((socket) => {
    socket.tell({ type: 'state', seq: 50, status: 'processing', pct: 0 });
    socket.tell({ type: 'gap', seq: 29, since: 9, first: 30 });
    socket.tell({ type: 'stage', seq: 30, stage: 's', status: 'started' });
    socket.tell({ type: 'gap', seq: 0, since: 30, first: 1 });
    socket.tell({ type: 'stage', seq: 1, stage: 's', status: 'started' });
    socket.tell({ type: 'completed', seq: 2, result: null });
    socket.close(1000);
  });
  const job = followJob('j1', { ...quick, server: url, since: 9 });
  const seqs = [];
  job.on('stage', (event) => seqs.push(event.seq));
  await job.done();
  assert.deepEqual(seqs, [30, 1]);
});

test('a later `state` is a change with a number of its own: held, paused, going on', async () => {
  const stages = [{ id: 'a', status: 'finished' }];
  const { url } = await daemon((socket, query, nth) => {
    socket.tell({ type: 'state', seq: nth === 1 ? 3 : 5, status: 'processing', pct: 10, title: 'clip', stages });
    const held = {
      type: 'state',
      seq: 4,
      status: 'held',
      pct: 10,
      stage: 'review',
      title: 'look at it',
      fields: ['note'],
    };
    socket.tell(held);
    if (nth === 1) return socket.terminate();
    socket.tell({ type: 'state', seq: 5, status: 'queued', pct: 10, waitReason: 'goes on' });
    socket.tell({ type: 'completed', seq: 6, result: null });
    socket.close(1000);
  });
  const job = followJob('j1', { ...quick, server: url });
  const seen = [];
  job.on('state', (event) =>
    seen.push([event.seq, job.snapshot.status, job.snapshot.hold?.fields, job.snapshot.title]),
  );
  await job.done();
  assert.deepEqual(seen, [
    [3, 'processing', undefined, 'clip'],
    [4, 'held', ['note'], 'clip'],
    [5, 'processing', undefined, 'clip'], // the greeting of the second connection
    [5, 'queued', undefined, 'clip'],
  ]);
  assert.equal(job.snapshot.stages.a.status, 'finished');
});
