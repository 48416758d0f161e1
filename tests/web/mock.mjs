// mock.mjs - a daemon that only pretends: the API's shapes and the stream's rules over jobs in memory, for pages with more
// running jobs than a test machine can run (10,000 jobs, 500 running), and for faults that a real daemon does not have.
//
//   node mock.mjs [--port N] [--jobs N] [--running N] [--rate EVENTS-A-SECOND]
//
// Prints "ready at URL" and serves web/ at /. Scenario tests that can use the real daemon do.
import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { WebSocketServer } from 'ws';

const web = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../web');
const types = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.json': 'application/json',
};
const stages = [
  { id: 'info', uses: 'probe', needs: [] },
  { id: 'poster', uses: 'thumbnail', needs: [] },
  { id: 'brand', uses: 'watermark', needs: [] },
  { id: 'stream', uses: 'hls', needs: ['brand'] },
  { id: 'publish', uses: 'upload', needs: ['stream', 'poster'] },
];
const pipelines = [
  {
    name: 'vod',
    title: 'poster and watermarked HLS ladder',
    digest: 'd1',
    stages,
    params: [
      { name: 'logo', takes: ['file'], default: 'brand/logo.png', summary: 'image laid over the video' },
      {
        name: 'publish_to',
        takes: ['target'],
        default: '',
        summary: 'folder or s3:// address to publish to; empty: nowhere',
      },
      {
        name: 'quality',
        takes: ['keyword'],
        choices: ['low', 'medium', 'high'],
        default: 'medium',
        summary: 'how good it looks',
      },
      { name: 'crf', takes: ['integer'], min: 10, max: 40, default: 23, summary: 'constant rate factor' },
      { name: 'audio', takes: ['bool'], default: true, summary: 'keep the sound' },
      { name: 'title', takes: ['text'], required: true, summary: 'shown in the player' },
    ],
  },
  {
    name: 'thumbnails',
    title: 'poster and thumbnails',
    digest: 'd2',
    stages: stages.slice(0, 2),
    params: [{ name: 'every', takes: ['duration'], default: '10s', summary: 'distance between thumbnails' }],
  },
];
const counted = { queued: 'waiting', completed: 'done' };

export class Mock {
  jobs = new Map();
  cursor = 1000;
  events = []; // with cursor, oldest first
  sessions = new Set();
  requests = [];

  constructor({ jobs = 0, running = 0 } = {}) {
    const now = Date.now();
    for (let i = 0; i < jobs; i++) this.add(this.made(i, jobs, running, now));
  }

  made(i, jobs, running, now) {
    const id = `01mock${String(i).padStart(20, '0')}`;
    const age = (jobs - i) * 700;
    const at = (ms) => new Date(now - ms).toISOString();
    const kind =
      i >= jobs - running
        ? 'processing'
        : i >= jobs - running - jobs / 10
          ? 'queued'
          : i % 17 === 0
            ? 'failed'
            : 'completed';
    const job = {
      id,
      pipeline: i % 5 ? 'vod' : 'thumbnails',
      title: `clip-${i}.mp4`,
      owner: 'operator',
      asset: `asset-${i}`,
      status: kind,
      pct: { processing: (i * 37) % 95, queued: 0, completed: 100, failed: 42 }[kind],
      attempt: 1,
      maxAttempts: 4,
      round: 1,
      priority: 50,
      queuedAt: at(age + 60000),
      startedAt: null,
      endedAt: null,
      lastSeq: 1,
      websocketUrl: `/ws?jobId=${id}`,
      links: { self: `/api/v1/jobs/${id}` },
    };
    if (kind === 'queued')
      Object.assign(job, {
        waitReason: 'every attempt slot is taken',
        queuePosition: i - (jobs - running - jobs / 10) + 1,
      });
    else Object.assign(job, { startedAt: at(age + 30000), lastSeq: 4 });
    if (kind === 'processing') Object.assign(job, { stage: 'stream', message: '720p, 480p, 360p', lastSeq: 3 });
    if (kind === 'completed')
      Object.assign(job, { endedAt: at(age), durationMs: 30000, result: { playlist: 'stream/master.m3u8' } });
    if (kind === 'failed')
      Object.assign(job, {
        endedAt: at(age),
        error: { message: 'the file has no video stream', stage: 'stream', code: 'invalid' },
      });
    return job;
  }

  add(job) {
    this.jobs.set(job.id, job);
  }

  stats() {
    const sum = { waiting: 0, processing: 0, retrying: 0, held: 0, paused: 0, done: 0, failed: 0, cancelled: 0 };
    for (const job of this.jobs.values()) sum[counted[job.status] ?? job.status]++;
    return {
      ...sum,
      successRate: sum.done / Math.max(1, sum.done + sum.failed),
      meanDurationMs: 30000,
      pipelines: [],
      followers: this.sessions.size,
      uptimeSeconds: 5,
      cursor: this.cursor,
    };
  }

  list(query) {
    const statuses = query.get('status')?.split(',');
    const limit = Number(query.get('limit') ?? 100);
    const from = query.get('cursor');
    const found = [];
    for (const job of [...this.jobs.values()].reverse()) {
      if (from && job.id >= from) continue;
      if (statuses && !statuses.includes(job.status)) continue;
      found.push(job);
      if (found.length === limit) break;
    }
    return { jobs: found, next: found.length === limit ? found.at(-1).id : null };
  }

  detail(job) {
    const order = stages.findIndex((stage) => stage.id === job.stage);
    const rows = (pipelines.find((p) => p.name === job.pipeline)?.stages ?? []).map((stage, i) => ({
      ...stage,
      attempts: 1,
      failedAttempts: 0,
      title: stage.uses,
      status:
        job.status === 'completed'
          ? 'finished'
          : order < 0 || i > order
            ? 'waiting'
            : i < order
              ? 'finished'
              : job.status === 'failed'
                ? 'failed'
                : 'running',
      startedAt: i <= order ? job.startedAt : null,
      pct: i === order ? job.pct : undefined,
    }));
    return { ...job, stages: rows, attempts: [], spec: { input: `/media/${job.title}`, params: { title: job.title } } };
  }

  /** Something happens to a job: stored when `stored`, told to every session that asked for it. */
  tell(job, event, stored = true) {
    const full = {
      type: event.type,
      jobId: job.id,
      seq: stored ? ++job.lastSeq : job.lastSeq,
      at: new Date().toISOString(),
      asset: job.asset,
      pipeline: job.pipeline,
      owner: job.owner,
      attempt: 1,
      maxAttempts: 4,
      ...event,
    };
    if (stored) this.events.push(Object.assign(full, { cursor: ++this.cursor }));
    for (const session of this.sessions) if (session.topic) session.tell(full);
  }

  step(job) {
    if (job.status === 'queued') {
      Object.assign(job, { status: 'processing', startedAt: new Date().toISOString(), waitReason: null });
      this.tell(job, { type: 'started', startedAt: job.startedAt });
      job.stage = 'stream';
      return this.tell(job, { type: 'stage', stage: 'stream', status: 'started', title: 'adaptive streaming' });
    }
    job.pct = Math.min(99.9, job.pct + 1.5);
    if (job.pct < 99)
      return this.tell(
        job,
        {
          type: 'progress',
          pct: job.pct,
          stage: 'stream',
          stagePct: job.pct,
          message: 'encoding',
          etaSeconds: Math.round(100 - job.pct),
        },
        false,
      );
    const fails = Math.random() < 0.1;
    Object.assign(job, { status: fails ? 'failed' : 'completed', endedAt: new Date().toISOString() });
    if (fails) job.error = { message: 'the disk is full', stage: 'stream', code: 'no-space' };
    if (fails)
      this.tell(job, {
        type: 'failed',
        error: 'the disk is full',
        stage: 'stream',
        code: 'no-space',
        totalAttempts: 4,
      });
    else this.tell(job, { type: 'completed', result: { playlist: 'stream/master.m3u8' }, durationMs: 1000 });
    const next = [...this.jobs.values()].find((other) => other.status === 'queued');
    if (next) this.step(next);
  }

  run(rate) {
    const every = 50;
    let running = [];
    return setInterval(() => {
      for (let i = 0; i < (rate * every) / 1000; i++) {
        if (!running.length) running = [...this.jobs.values()].filter((job) => job.status === 'processing');
        const job = running.splice(Math.floor(Math.random() * running.length), 1)[0];
        if (job?.status === 'processing') this.step(job);
      }
    }, every);
  }

  submit(body) {
    const id = `01mock${String(this.jobs.size).padStart(20, '0')}`;
    const job = {
      id,
      pipeline: body.pipeline,
      title: body.title ?? body.input ?? 'a job',
      owner: 'operator',
      asset: body.asset ?? null,
      status: 'queued',
      pct: 0,
      attempt: 1,
      maxAttempts: 4,
      round: 1,
      priority: 50,
      queuedAt: new Date().toISOString(),
      startedAt: null,
      endedAt: null,
      lastSeq: 0,
      queuePosition: 1,
      waitReason: 'submitted a moment ago',
      websocketUrl: `/ws?jobId=${id}`,
      links: {},
    };
    this.add(job);
    this.tell(job, { type: 'queued', queuePosition: 1, queuedAt: job.queuedAt, title: job.title });
    return job;
  }

  answer(method, url, body) {
    const at = url.pathname.replace('/api/v1', '');
    const [, kind, id, what] = at.split('/');
    const job = kind === 'jobs' && id ? this.jobs.get(decodeURIComponent(id)) : null;
    if (at === '/whoami') return { subject: 'operator', scopes: ['admin'], grants: [], expiresAt: null };
    if (at === '/stats') return this.stats();
    if (at === '/pipelines') return { pipelines };
    if (at === '/queue') return { paused: false, waiting: this.stats().waiting, running: this.stats().processing };
    if (at === '/jobs' && method === 'GET') return this.list(url.searchParams);
    if (at === '/jobs') return this.submit(body);
    if (!job) return null;
    if (!what) return this.detail(job);
    if (what === 'events')
      return { events: this.events.filter((event) => event.jobId === job.id), lastSeq: job.lastSeq, ended: false };
    if (what === 'explain')
      return { status: job.status, reason: job.waitReason ?? null, details: ['2 of 2 attempts run'], nextStep: 'wait' };
    if (what === 'artifacts') return { artifacts: [] };
    if (what === 'logs') return { logs: [] };
    if (what === 'retry') {
      Object.assign(job, { status: 'queued', pct: 0, round: job.round + 1, endedAt: null, error: undefined });
      this.tell(job, { type: 'queued', round: job.round, queuePosition: 1, reason: 'retried' });
    }
    return job;
  }

  serve(port = 0) {
    const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => 'stagemill.v1' });
    const server = createServer((request, response) => this.request(request, response));
    server.on('upgrade', (request, socket, head) =>
      sockets.handleUpgrade(request, socket, head, (ws) => this.session(ws)),
    );
    return new Promise((resolve) =>
      server.listen(port, '127.0.0.1', () =>
        resolve({ server, sockets, url: `http://127.0.0.1:${server.address().port}` }),
      ),
    );
  }

  session(socket) {
    const session = { topic: null, tell: (event) => socket.readyState === 1 && socket.send(JSON.stringify(event)) };
    this.sessions.add(session);
    socket.on('close', () => this.sessions.delete(session));
    socket.on('message', (data) => {
      const message = JSON.parse(data);
      if (message.type === 'subscribe') {
        session.topic = message.topic;
        session.tell({ type: 'subscribed', topic: message.topic, id: message.id });
        if (message.since !== undefined)
          for (const event of this.events) if (event.cursor > Number(message.since)) session.tell(event);
      }
    });
  }

  async request(request, response) {
    const url = new URL(request.url, 'http://mock');
    if (!url.pathname.startsWith('/api/')) return file(url.pathname, response);
    this.requests.push(`${request.method} ${url.pathname}`);
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = parts.length ? JSON.parse(Buffer.concat(parts)) : {};
    const known = request.headers.authorization === 'Bearer mock';
    const answer = known ? this.answer(request.method, url, body) : null;
    const status = !known ? 401 : answer ? 200 : 404;
    response.writeHead(status, { 'Content-Type': answer ? 'application/json' : 'application/problem+json' });
    response.end(
      JSON.stringify(
        answer ?? {
          title: known ? 'not found' : 'no credential',
          status,
          detail: known ? 'there is no such thing' : 'this needs a token',
          code: 'x',
        },
      ),
    );
  }
}

function file(name, response) {
  const full = path.join(web, name.endsWith('/') ? `${name}index.html` : name);
  if (!full.startsWith(web) || !statSync(full, { throwIfNoEntry: false })?.isFile())
    return response.writeHead(404).end();
  response.writeHead(200, {
    'Content-Type': types[path.extname(full)] ?? 'application/octet-stream',
    'Cache-Control': 'no-cache',
  });
  createReadStream(full).pipe(response);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const options = { port: '0', jobs: '40', running: '6', rate: '60' };
  const { values } = parseArgs({
    options: Object.fromEntries(
      Object.entries(options).map(([name, otherwise]) => [name, { type: 'string', default: otherwise }]),
    ),
  });
  const mock = new Mock({ jobs: Number(values.jobs), running: Number(values.running) });
  const { url } = await mock.serve(Number(values.port));
  mock.run(Number(values.rate));
  console.log(`ready at ${url}/?token=mock`);
}
