// The parts of the dashboard that need no page: counts from events, the graph's layout, the series of the charts, the order.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyJob, reduceJob } from '../../web/client/stagemill.js';
import { queueSeries, throughputSeries } from '../../web/dashboard/charts.js';
import { Counters } from '../../web/dashboard/counters.js';
import { bytes, outlook, span } from '../../web/dashboard/format.js';
import { layers } from '../../web/dashboard/graph.js';
import { playable } from '../../web/dashboard/result.js';
import { ordered } from '../../web/dashboard/view-jobs.js';

/** A daemon's books over random histories: what /stats would say at every cursor. */
function history(jobs, seed = 7) {
  let state = seed;
  const random = () => (state = (state * 1103515245 + 12345) % 2 ** 31) / 2 ** 31;
  const next = {
    queued: ['started', 'cancelled'],
    started: ['retrying', 'completed', 'failed'],
    retrying: ['stage'],
    stage: ['completed', 'failed', 'retrying'],
    failed: ['queued'],
    cancelled: ['queued'],
    completed: [],
  };
  const last = new Map();
  const events = [];
  for (let cursor = 1; cursor <= jobs * 6; cursor++) {
    const id = `j${Math.floor(random() * jobs)}`;
    const before = last.get(id);
    const words = before ? next[before.type] : ['queued'];
    const type = words[Math.floor(random() * words.length)];
    if (!type) continue;
    const round = (before?.round ?? 1) + (before && type === 'queued' ? 1 : 0);
    const event = { type, jobId: id, seq: (before?.seq ?? 0) + 1, cursor, round };
    if (type === 'stage') Object.assign(event, { stage: 's', status: 'started' });
    last.set(id, event);
    events.push(event);
  }
  return events;
}

function truth(events) {
  const jobs = new Map();
  for (const event of events) jobs.set(event.jobId, reduceJob(jobs.get(event.jobId) ?? emptyJob, event));
  const counts = { waiting: 0, processing: 0, retrying: 0, held: 0, paused: 0, done: 0, failed: 0, cancelled: 0 };
  const word = { queued: 'waiting', completed: 'done' };
  for (const job of jobs.values()) counts[word[job.status] ?? job.status]++;
  return { jobs, counts };
}

test('counts kept by events equal the books, wherever counting begins', () => {
  const events = history(60);
  const all = truth(events).counts;
  for (const from of [0, 1, 50, 200, events.length]) {
    const begin = truth(events.slice(0, from));
    const counters = new Counters();
    counters.start({ ...begin.counts, cursor: from ? events[from - 1].cursor : 0 });
    // A replay that begins earlier brings events that the snapshot already holds: they change the jobs, not the counts.
    const jobs = truth(events.slice(0, Math.max(0, from - 20))).jobs;
    for (const event of events.slice(Math.max(0, from - 20))) {
      const known = jobs.get(event.jobId);
      const job = reduceJob(known ?? emptyJob, event);
      counters.heard(event, known?.status ?? null, job.status);
      jobs.set(event.jobId, job);
    }
    assert.equal(counters.uncertain, false);
    const { queued, completed, ...same } = counters.counts;
    assert.deepEqual({ waiting: queued, done: completed, ...same }, { waiting: 0, done: 0, ...all });
  }
});

test('a snapshot that is older than what was heard meanwhile takes nothing back', () => {
  const counters = new Counters();
  counters.start({ waiting: 2, cursor: 5 });
  counters.expect();
  counters.heard({ type: 'started', cursor: 6 }, 'queued', 'processing');
  counters.heard({ type: 'started', cursor: 7 }, 'queued', 'processing');
  counters.start({ waiting: 1, processing: 1, cursor: 6 }); // it was made between the two
  assert.deepEqual([counters.counts.queued, counters.counts.processing], [0, 2]);
});

test('a job that was never heard of makes the counts uncertain only when its past could have been several', () => {
  const counters = new Counters();
  counters.start({ waiting: 1, processing: 1, failed: 1, cursor: 5 });
  counters.heard({ type: 'started', cursor: 6 }, null, 'processing');
  assert.deepEqual([counters.counts.queued, counters.counts.processing, counters.uncertain], [0, 2, false]);
  counters.heard({ type: 'queued', round: 2, cursor: 7 }, null, 'queued');
  assert.equal(counters.uncertain, true);
});

test('the graph puts every stage after what it needs, and long lines into lanes of their own', () => {
  const stages = [
    { id: 'a', needs: [] },
    { id: 'b', needs: ['a'] },
    { id: 'c', needs: ['b', 'a'] },
    { id: 'd', needs: ['gone'] },
    { id: 'e', needs: ['f'] },
    { id: 'f', needs: ['e'] },
  ];
  const columns = layers(stages);
  const at = (id) => columns.findIndex((column) => column.some((item) => item.id === id));
  assert.deepEqual([at('a'), at('b'), at('c'), at('d')], [0, 1, 2, 0]);
  assert.equal(columns[1].filter((item) => item.lane).length, 1);
  assert.ok(at('e') >= 0 && at('f') >= 0);
});

test('charts: who waited, ran and ended when', () => {
  const now = Date.parse('2026-01-01T12:00:00Z');
  const at = (minutes) => new Date(now - minutes * 60000).toISOString();
  const jobs = [
    { status: 'completed', queuedAt: at(30), startedAt: at(20), endedAt: at(10.5) },
    { status: 'failed', queuedAt: at(300), startedAt: at(290), endedAt: at(10.5) },
    { status: 'queued', queuedAt: at(5), startedAt: null, endedAt: null },
    { status: 'completed', queuedAt: at(500), startedAt: at(400), endedAt: at(200) },
  ];
  const { waiting, running } = queueSeries(jobs, now);
  assert.deepEqual([waiting[25], waiting[35], waiting[41], waiting[60]], [0, 1, 0, 1]);
  assert.deepEqual([running[30], running[45], running[60]], [1, 2, 0]);
  const { done, failed } = throughputSeries(jobs, now);
  assert.deepEqual([done[49], failed[49], done.reduce((a, b) => a + b)], [1, 1, 1]);
});

test('rows: running, waiting in their order, ended from the newest; search by every word', () => {
  const jobs = [
    { id: '1', status: 'completed', endedAt: '2026-01-01', title: 'Old clip' },
    { id: '2', status: 'completed', endedAt: '2026-01-02', title: 'new' },
    { id: '4', status: 'queued', priority: 50 },
    { id: '3', status: 'queued', priority: 50 },
    { id: '6', status: 'queued', priority: 80 },
    { id: '5', status: 'processing', pipeline: 'vod' },
  ];
  const ids = (filter) =>
    ordered(jobs, { status: null, words: '', ...filter })
      .map((job) => job.id)
      .join('');
  assert.equal(ids({}), '563421');
  assert.equal(ids({ status: 'queued' }), '634');
  assert.equal(ids({ words: 'clip OLD' }), '1');
});

test('what is played: what the result names, else a master playlist, else a video', () => {
  const files = [
    { path: 'stream/720p.m3u8', mediaType: 'application/vnd.apple.mpegurl' },
    { path: 'stream/master.m3u8', mediaType: 'application/vnd.apple.mpegurl' },
    { path: 'a.mp4', mediaType: 'video/mp4' },
  ];
  assert.equal(playable(files, { playlist: 'stream/720p.m3u8' }).path, 'stream/720p.m3u8');
  assert.equal(playable(files, {}).path, 'stream/master.m3u8');
  assert.equal(playable(files.slice(2), null).path, 'a.mp4');
  assert.equal(playable([], { playlist: 'https://cdn.example.org/x.m3u8' }).url, 'https://cdn.example.org/x.m3u8');
  assert.equal(playable([], {}), null);
});

test('words for people', () => {
  assert.deepEqual([0, 59, 61, 3725, 90000].map(span), ['0 s', '59 s', '1 min 1 s', '1 h 2 min', '1 d 1 h']);
  assert.deepEqual([0, 999, 1500, 22700000].map(bytes), ['0 B', '999 B', '1.5 KB', '23 MB']);
  assert.equal(outlook({ status: 'queued', queuePosition: 3 }), 'number 3 in the queue');
  assert.equal(outlook({ status: 'processing', etaSeconds: 75 }), 'about 1 min 15 s left');
});
