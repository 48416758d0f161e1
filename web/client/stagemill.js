// stagemill.js - follow jobs, batches and streams of a stagemill daemon, from browsers and from node. No dependency.
//
//   const job = followJob(id, { server: 'https://media.example.org', token: () => freshToken() });
//   job.on('change', (now) => draw(now.status, now.pct, now.stage, now.message));
//   const result = await job.done();
//
// A follower keeps its socket open until the job has ended: it reconnects with growing pauses, asks for what it missed by
// number, and hands every lifecycle event on exactly once, in order. stagemill.d.ts has the types.

export const defaults = Object.freeze({
  reconnectDelayMs: 2000,
  reconnectTries: 5,
  reconnectMaxDelayMs: 30000,
  jitter: 0.2,
});

export const Close = Object.freeze({
  done: 1000, // the job has ended: nothing follows
  away: 1001, // the daemon stops: it comes back
  noCredential: 4001,
  badToken: 4003,
  unknown: 4004,
  tooSlow: 4008, // this client did not read fast enough: come back for the rest
});
const finalCodes = new Set([Close.done, Close.noCredential, Close.badToken, Close.unknown]);
const finalReasons = {
  [Close.noCredential]: 'the daemon wants a token and the id of a job or batch',
  [Close.badToken]: 'the token is invalid, expired or not for this job',
  [Close.unknown]: 'the daemon knows no such job or batch',
};

const jobWords = new Set(['queued', 'processing', 'retrying', 'held', 'paused', 'completed', 'failed', 'cancelled']);
const endWords = new Set(['completed', 'failed', 'cancelled', 'batch-completed', 'batch-failed', 'batch-cancelled']);
const passing = new Set(['progress', 'gap', 'subscribed', 'unsubscribed', 'error', 'pong']); // carry no number of their own

export const isJobStatus = (word) => jobWords.has(word);
export const hasEnded = (status) => status === 'completed' || status === 'failed' || status === 'cancelled';

export class StagemillError extends Error {
  constructor(message, fields = {}) {
    super(message);
    this.name = 'StagemillError';
    Object.assign(this, fields); // code, stage, status, result
  }
}

// ---- listeners ---------------------------------------------------------------------------------------------------------

class Emitter {
  #listeners = new Map();

  /** Calls `listener` for every `type`; '*' is every event of the daemon. Answers the function that ends it. */
  on(type, listener) {
    if (!this.#listeners.has(type)) this.#listeners.set(type, new Set());
    this.#listeners.get(type).add(listener);
    return () => this.#listeners.get(type)?.delete(listener);
  }

  emit(type, ...values) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        listener(...values);
      } catch (error) {
        // A listener's fault is its own: the stream goes on, and the fault reaches the console.
        if (typeof reportError === 'function') reportError(error);
        else
          queueMicrotask(() => {
            throw error;
          });
      }
    }
  }
}

// ---- one line that comes back -----------------------------------------------------------------------------------------

/** What all followers share: a WebSocket that is opened again after it fell, with pauses that double up to a cap. */
class Line extends Emitter {
  #options;
  #socket = null;
  #timer = null;
  #opening = 0; // number of the current attempt to connect: an answer to an older one is ignored
  #tries = 0;
  #fed = false;
  #wake = () => this.reconnect();
  closed = false;
  connection = 'connecting';

  constructor(options) {
    super();
    this.#options = { ...defaults, ...options };
    globalThis.addEventListener?.('online', this.#wake);
    // Not at once: whoever made this has not added its listeners yet.
    queueMicrotask(() => this.#connect());
  }

  get options() {
    return this.#options;
  }

  /** Connects now instead of after the pause; does nothing while connected. */
  reconnect() {
    if (this.closed || this.#socket) return;
    this.#tries = 0;
    this.#connect();
  }

  /** Ends it: nothing is emitted afterwards but 'close'. */
  close(code = Close.done, reason = 'closed by the client') {
    if (this.closed) return;
    this.#end({ code, reason, byClient: true });
  }

  send(message) {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  async #connect() {
    if (this.closed) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    const turn = ++this.#opening;
    this.#say('connecting');
    let socket;
    try {
      const token = await (typeof this.#options.token === 'function' ? this.#options.token() : this.#options.token);
      if (turn !== this.#opening || this.closed) return;
      socket = this.#open(token);
    } catch (error) {
      if (turn === this.#opening) this.#fell({ code: 1006, reason: error?.message ?? String(error) });
      return;
    }
    this.#socket = socket;
    socket.onopen = () => {
      if (socket === this.#socket) this.#opened();
    };
    socket.onmessage = (message) => {
      if (socket === this.#socket) this.#read(message.data);
    };
    socket.onerror = () => {}; // `close` follows and says more
    socket.onclose = (event) => {
      if (socket !== this.#socket) return;
      this.#socket = null;
      this.#fell({ code: event.code, reason: event.reason });
    };
  }

  #open(token) {
    const WebSocketClass = this.#options.WebSocket ?? globalThis.WebSocket;
    if (!WebSocketClass)
      throw new StagemillError('there is no WebSocket here: pass one as option `WebSocket`', { code: 'usage' });
    const url = socketUrl(this.#options.server, this.path());
    // A subprotocol keeps the token out of addresses, and so out of the logs of every proxy on the way.
    if (token && this.#options.tokenIn === 'query') url.searchParams.set('token', token);
    const offered = ['stagemill.v1'];
    if (token && this.#options.tokenIn !== 'query') offered.push(`stagemill.token.${token}`);
    return new WebSocketClass(url.href, offered);
  }

  #opened() {
    this.#tries = 0;
    this.#say('connected');
    this.opened?.();
  }

  #read(data) {
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return; // not ours to guess
    }
    if (!event || typeof event.type !== 'string') return;
    this.#fed = true;
    this.heard(event);
  }

  #fell({ code, reason }) {
    if (this.closed) return;
    if (finalCodes.has(code)) return this.#end({ code, reason: reason || finalReasons[code] || '' });
    if (code === Close.tooSlow && this.#fed) {
      this.#fed = false; // at once, but not in a circle: only when the last connection brought something
      this.#say('disconnected', { code, reason, inMs: 0 });
      return void this.#connect();
    }
    if (this.#tries >= this.#options.reconnectTries)
      return this.#end({ code, reason: reason || 'the daemon cannot be reached' });
    const inMs = reconnectDelay(this.#tries++, this.#options);
    this.#say('disconnected', { code, reason, inMs, attempt: this.#tries });
    this.#timer = setTimeout(() => this.#connect(), inMs);
  }

  #end({ code, reason, byClient = false }) {
    this.closed = true;
    this.#opening++;
    clearTimeout(this.#timer);
    globalThis.removeEventListener?.('online', this.#wake);
    const socket = this.#socket;
    this.#socket = null;
    if (socket && byClient) socket.close(1000);
    this.#say('disconnected', { code, reason });
    this.ended?.({ code, reason, byClient });
    this.emit('close', { code, reason, byClient });
  }

  #say(word, more = {}) {
    this.connection = word;
    this.connectionChanged?.(word);
    this.emit('connection', { connection: word, ...more });
  }
}

/** The pause before try `tried` (from 0): doubling from the first delay, spread by the jitter, never above the cap. */
export function reconnectDelay(tried, options = defaults) {
  const { reconnectDelayMs, reconnectMaxDelayMs, jitter, random = Math.random } = { ...defaults, ...options };
  const plain = Math.min(reconnectMaxDelayMs, reconnectDelayMs * 2 ** Math.min(tried, 30));
  return Math.round(Math.min(reconnectMaxDelayMs, plain * (1 + jitter * (2 * random() - 1))));
}

function socketUrl(server, path) {
  const base = server ?? globalThis.location?.origin;
  if (!base) throw new StagemillError('which daemon? pass its address as option `server`', { code: 'usage' });
  const url = new URL(path, /\/$/.test(base) ? base : `${base}/`);
  url.protocol = /^(https|wss):$/.test(url.protocol) ? 'wss:' : 'ws:';
  url.hash = '';
  return url;
}

// ---- which events were seen ---------------------------------------------------------------------------------------------

/** Lifecycle events are numbered from 1 for each job and batch. A replay may bring some of them again: they are dropped. */
export class Seen {
  #last = new Map();

  static subject(event) {
    return event.type.startsWith('batch') ? `batch:${event.batchId}` : `job:${event.jobId}`;
  }

  last(subject) {
    return this.#last.get(subject) ?? 0;
  }
  start(subject, seq) {
    this.#last.set(subject, seq);
  }
  forget() {
    this.#last.clear();
  }

  /** True when the event is new. Events without a number of their own always are. */
  take(event) {
    if (passing.has(event.type) || !event.seq) return true;
    const subject = Seen.subject(event);
    if (event.seq <= this.last(subject)) return false;
    this.#last.set(subject, event.seq);
    return true;
  }
}

// ---- from events to what a page shows ---------------------------------------------------------------------------------

export const emptyJob = Object.freeze({
  id: null,
  status: null,
  pct: 0,
  stage: null,
  message: null,
  attempt: 1,
  maxAttempts: null,
  round: 1,
  etaSeconds: null,
  item: null,
  items: null,
  queuePosition: null,
  waitReason: null,
  retryAt: null,
  hold: null,
  result: null,
  error: null,
  stages: Object.freeze({}),
  queuedAt: null,
  startedAt: null,
  endedAt: null,
  durationMs: null,
  lastSeq: 0,
});

const stageWords = { started: 'running' };
const carried = [
  'pipeline',
  'title',
  'asset',
  'owner',
  'batchId',
  'attempt',
  'maxAttempts',
  'round',
  'queuedAt',
  'startedAt',
  'endedAt',
  'queuePosition',
  'durationMs',
  'priority',
  'pausedUntil',
];

function errorOf(event) {
  if (event.error && typeof event.error === 'object') return event.error;
  return { message: event.error ?? 'the job failed', stage: event.stage ?? null, code: event.code ?? null };
}

function stageChanged(job, event, fields) {
  return { ...job.stages, [event.stage]: { ...job.stages[event.stage], ...fields } };
}

/** All of a job, as a follower gets it first. */
function wholeState(event) {
  const stages = {};
  for (const stage of event.stages) stages[stage.id] = stage;
  const { type, jobId, seq, at, ...fields } = event;
  return { ...emptyJob, id: jobId, ...fields, stages, error: event.error ? errorOf(event) : null };
}

const reducers = {
  // A change of status that no other event speaks of: held, paused, going on.
  state: (job, event) => ({
    status: event.status ?? job.status,
    pct: event.pct ?? job.pct,
    stage: event.stage ?? job.stage,
    waitReason: event.waitReason ?? null,
    pausedUntil: event.pausedUntil ?? null,
    retryAt: null,
    etaSeconds: null,
    hold:
      event.status === 'held' && event.stage
        ? { stage: event.stage, title: event.title, message: event.message, fields: event.fields ?? [] }
        : null,
  }),
  queued: (job, event) => ({
    status: 'queued',
    waitReason: event.reason ?? null,
    etaSeconds: null,
    result: null,
    error: null,
    retryAt: null,
    startedAt: null,
    endedAt: null,
    ...((event.round ?? 1) !== job.round ? { pct: 0, stage: null, message: null } : {}),
  }),
  started: () => ({ status: 'processing', waitReason: null, queuePosition: null, retryAt: null }),
  stage(job, event) {
    const word = stageWords[event.status] ?? event.status;
    const { type, jobId, seq, at, stage, status, ...fields } = event;
    const time = word === 'running' ? { startedAt: at, endedAt: null, pct: 0, error: null } : { endedAt: at };
    const stages = stageChanged(job, event, {
      id: stage,
      ...time,
      ...fields,
      status: event.soft ? 'soft-failed' : word,
    });
    if (word !== 'running') return { stages };
    return {
      stages,
      status: 'processing',
      waitReason: null,
      retryAt: null,
      stage,
      message: event.message ?? event.title ?? null,
    };
  },
  progress: (job, event) => ({
    status: job.status === 'paused' || job.status === 'held' ? job.status : 'processing',
    waitReason: null,
    retryAt: null,
    pct: event.pct ?? job.pct,
    stage: event.stage ?? job.stage,
    message: event.message ?? null,
    etaSeconds: event.etaSeconds ?? null,
    item: event.item ?? null,
    items: event.items ?? null,
    stages: event.stage
      ? stageChanged(job, event, {
          id: event.stage,
          status: 'running',
          message: event.message ?? null,
          ...(event.stagePct === undefined ? {} : { pct: event.stagePct }),
        })
      : job.stages,
  }),
  retrying: (job, event) => ({
    status: 'retrying',
    retryAt: event.retryAt ?? null,
    etaSeconds: null,
    waitReason: event.stage ? `stage '${event.stage}' is tried again: ${event.error ?? ''}` : (event.error ?? null),
    stages: event.stage
      ? stageChanged(job, event, { id: event.stage, status: 'delayed', retryAt: event.retryAt, error: errorOf(event) })
      : job.stages,
  }),
  completed: (job, event) => ({
    status: 'completed',
    pct: 100,
    result: event.result ?? null,
    etaSeconds: null,
    endedAt: event.at,
    waitReason: null,
  }),
  failed: (job, event) => ({
    status: 'failed',
    error: errorOf(event),
    etaSeconds: null,
    endedAt: event.at,
    waitReason: null,
    retryAt: null,
  }),
  cancelled: (job, event) => ({
    status: 'cancelled',
    etaSeconds: null,
    endedAt: event.at,
    waitReason: null,
    retryAt: null,
  }),
};

/** The job after an event. Pure: answers a new object; unknown events change only the numbers and a status they carry. */
export function reduceJob(job, event) {
  if (event.type === 'state' && event.stages) return { ...wholeState(event), lastSeq: event.seq ?? 0 };
  const common = { lastSeq: Math.max(job.lastSeq, event.seq ?? 0) };
  if (event.jobId) common.id = event.jobId;
  if (event.type !== 'stage' && event.type !== 'progress')
    for (const key of carried)
      if (event[key] !== undefined && !(event.type === 'state' && key === 'title')) common[key] = event[key];
  const change = reducers[event.type];
  if (!change && (isJobStatus(event.status) || isJobStatus(event.type))) {
    common.status = isJobStatus(event.status) ? event.status : event.type;
    common.waitReason = event.reason ?? event.message ?? null;
  }
  return { ...job, ...common, ...(change ? change(job, event) : {}), lastSeq: common.lastSeq };
}

const emptyBatch = Object.freeze({
  id: null,
  status: null,
  pct: 0,
  totalFiles: null,
  currentFile: 0,
  filename: null,
  message: null,
  processedFiles: 0,
  failedFiles: 0,
  oversizedFiles: 0,
  skippedFiles: 0,
  error: null,
});

/** The batch after an event; events of its jobs pass without a change. */
export function reduceBatch(batch, event) {
  const { type, batchId, jobId, seq, at, cursor, ...fields } = event;
  if (type === 'state') return { ...emptyBatch, id: batchId, ...fields };
  if (!type.startsWith('batch-')) return batch;
  const word = type.slice('batch-'.length);
  const next = { ...batch, id: batchId ?? batch.id };
  if (word === 'progress') Object.assign(next, { ...fields, status: 'processing', fileStatus: event.status, jobId });
  else Object.assign(next, fields, { status: word === 'started' ? 'processing' : word });
  next.pct = word === 'completed' ? 100 : next.totalFiles ? (100 * next.currentFile) / next.totalFiles : next.pct;
  return next;
}

// ---- one job, one batch ----------------------------------------------------------------------------------------------

/** Follows one subject over /ws until it has ended. Made by followJob and followBatch. */
export class Follower extends Line {
  #kind;
  #id;
  #reduce;
  #seen = new Seen();
  #end = null;
  #settled = [];
  snapshot;

  constructor(kind, id, options = {}) {
    super(options);
    this.#kind = kind;
    this.#id = id;
    this.#reduce = kind === 'job' ? reduceJob : reduceBatch;
    const empty = kind === 'job' ? emptyJob : emptyBatch;
    this.snapshot = Object.freeze({ ...empty, id, connection: 'connecting', status: 'connecting' });
    if (options.since !== undefined) this.#seen.start(this.#subject, Number(options.since));
    this.#fresh = options.since === undefined;
  }

  #greeted = false; // `state` has come since the connection opened
  #fresh; // nothing was seen yet and nothing asked for: `state` says where we begin
  #word = null; // the last status word of the subject itself

  get #subject() {
    return `${this.#kind}:${this.#id}`;
  }
  get id() {
    return this.#id;
  }
  get lastSeq() {
    return this.#seen.last(this.#subject);
  }
  get status() {
    return this.snapshot.status;
  }

  path() {
    const query = new URLSearchParams({ [`${this.#kind}Id`]: this.#id });
    if (!this.#fresh) query.set('since', String(this.lastSeq));
    return `ws?${query}`;
  }

  heard(event) {
    if (event.type === 'state' && !this.#greeted) {
      // The first message of every connection: all there is to know. Later ones are changes, numbered like any other.
      if (this.#fresh) this.#seen.start(this.#subject, event.seq ?? 0);
      this.#greeted = true;
      this.#fresh = false;
      if (this.#kind === 'job') event.stages ??= [];
    } else if (event.type === 'gap') {
      this.#seen.start(this.#subject, (event.first ?? 1) - 1); // also back to the beginning: another store
    } else if (!this.#seen.take(event) && !(endWords.has(event.type) && !this.#end)) {
      return; // seen before; the last event of a job that had ended before we came is said again, and is news to us
    }
    if (this.#ends(event)) this.#end = event;
    this.#change(event);
    this.emit('*', event);
    this.emit(event.type, event);
    if (this.#end === event) this.#settle();
  }

  #ends(event) {
    return endWords.has(event.type) && event.type.startsWith('batch') === (this.#kind === 'batch');
  }

  #change(event) {
    const next = this.#reduce({ ...this.snapshot, status: this.#word }, event);
    this.#word = next.status;
    this.#show({ ...next, status: next.status ?? this.connection });
  }

  opened() {
    this.#greeted = false;
  }

  connectionChanged(connection) {
    // An ended job stays what it became, whatever its socket does.
    const status = this.#end ? this.snapshot.status : connection;
    this.#show({ ...this.snapshot, status, connection });
  }

  #show(next) {
    const before = this.snapshot?.status;
    this.snapshot = Object.freeze(next);
    if (before !== next.status) this.emit('status', next.status, this.snapshot);
    this.emit('change', this.snapshot);
  }

  ended(how) {
    if (!this.#end) this.#how = how;
    this.#settle();
  }

  #how = null;

  /** The result when the subject completes; throws a StagemillError when it fails, is cancelled, or cannot be followed. */
  done() {
    return new Promise((resolve, reject) => {
      this.#settled.push({ resolve, reject });
      this.#settle();
    });
  }

  #settle() {
    if (!this.#end && !this.#how) return;
    const event = this.#end;
    const word = event?.type.replace('batch-', '');
    for (const { resolve, reject } of this.#settled.splice(0)) {
      if (word === 'completed') resolve(this.#kind === 'job' ? (event.result ?? null) : event);
      else if (word === 'failed')
        reject(new StagemillError(errorOf(event).message, { ...errorOf(event), status: 'failed', event }));
      else if (word === 'cancelled')
        reject(
          new StagemillError(`the ${this.#kind} was cancelled`, { code: 'cancelled', status: 'cancelled', event }),
        );
      else
        reject(
          new StagemillError(`not followed to its end: ${this.#how.reason}`, {
            code: this.#how.code,
            status: 'disconnected',
          }),
        );
    }
  }

  /** for await (const event of follower): every event until it has ended. */
  async *[Symbol.asyncIterator]() {
    const waiting = [];
    let wake = null;
    const ring = () => {
      wake?.();
      wake = null;
    };
    const off = [
      this.on('*', (event) => {
        waiting.push(event);
        ring();
      }),
      this.on('close', ring),
    ];
    try {
      for (;;) {
        while (waiting.length) yield waiting.shift();
        if (this.closed) return;
        await new Promise((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      for (const end of off) end();
    }
  }
}

export const followJob = (jobId, options) => new Follower('job', jobId, options);
export const followBatch = (batchId, options) => new Follower('batch', batchId, options);

// ---- many at once ------------------------------------------------------------------------------------------------------

/** A session over /api/v1/stream: subscribe and unsubscribe at run time; after a reconnect each topic goes on where it was. */
export class Session extends Line {
  #topics = new Map(); // topic -> {since, options}
  #seen = new Seen();
  #asked = new Map();
  #number = 0;

  path() {
    return 'api/v1/stream';
  }

  /** 'job:ID', 'batch:ID', 'asset:ID', 'own' or 'all' (scope admin). Settles with the daemon's answer. */
  subscribe(topic, options = {}) {
    const { since, ...limits } = options;
    this.#topics.set(topic, { since, limits });
    return this.#ask({ type: 'subscribe', topic, ...(since === undefined ? {} : { since }), ...limits });
  }

  unsubscribe(topic) {
    this.#topics.delete(topic);
    return this.#ask({ type: 'unsubscribe', topic });
  }

  /** Where a topic stands: the cursor (or number, for jobs and batches) of the last event seen. */
  position(topic) {
    return this.#topics.get(topic)?.since;
  }

  #ask(message) {
    const id = ++this.#number;
    const answer = new Promise((resolve, reject) =>
      this.#asked.set(id, { resolve, reject, topic: message.topic, type: message.type }),
    );
    answer.catch(() => {}); // whoever does not wait for the answer hears of it by 'refused'
    this.send({ ...message, id }); // when not connected yet: `opened` sends it
    return answer;
  }

  opened() {
    const before = this.#asked;
    this.#asked = new Map();
    for (const [topic, { since, limits }] of this.#topics) {
      const id = ++this.#number;
      const waiting = [...before.values()].filter((ask) => ask.topic === topic && ask.type === 'subscribe');
      this.#asked.set(id, {
        topic,
        type: 'subscribe',
        resolve: (answer) => waiting.forEach((ask) => ask.resolve(answer)),
        reject: (error) => waiting.forEach((ask) => ask.reject(error)),
      });
      this.send({ type: 'subscribe', topic, ...(since === undefined ? {} : { since }), ...limits, id });
    }
    for (const ask of before.values())
      if (ask.type === 'unsubscribe') ask.resolve({ type: 'unsubscribed', topic: ask.topic });
    this.emit('open');
  }

  heard(event) {
    const ask = event.id !== undefined ? this.#asked.get(event.id) : undefined;
    if (ask && (event.type === 'subscribed' || event.type === 'unsubscribed' || event.type === 'error')) {
      this.#asked.delete(event.id);
      return this.#answered(ask, event);
    }
    if (event.type === 'gap') this.#skip(event);
    if (!this.#seen.take(event)) return;
    this.#advance(event);
    this.emit('*', event);
    this.emit(event.type, event);
  }

  /** Numbers were lost, or belong to another store: what follows begins at `first`. */
  #skip({ first = 1, jobId, batchId }) {
    if (jobId ?? batchId) return this.#seen.start(jobId ? `job:${jobId}` : `batch:${batchId}`, first - 1);
    this.#seen.forget();
    for (const at of this.#topics.values())
      if (at.since !== undefined && after(at.since, first - 1)) at.since = first - 1;
  }

  #answered(ask, event) {
    if (event.type !== 'error') {
      // Where we stand without having seen anything yet: a reconnect goes on from here.
      const topic = this.#topics.get(ask.topic);
      if (topic && topic.since === undefined) topic.since = event.cursor ?? event.seq;
      return ask.resolve(event);
    }
    this.#topics.delete(ask.topic);
    ask.reject(new StagemillError(event.message ?? 'refused', { code: event.code, topic: ask.topic }));
    this.emit('refused', { topic: ask.topic, code: event.code, message: event.message });
  }

  #advance(event) {
    if (passing.has(event.type)) return;
    for (const [topic, at] of this.#topics) {
      const [kind, id] = topic.split(/:(.*)/s);
      if (kind === 'job') {
        if (event.jobId === id && event.seq) at.since = event.seq;
      } else if (kind === 'batch') {
        if (event.batchId === id && event.type.startsWith('batch') && event.seq) at.since = event.seq;
      } else if (
        event.cursor !== undefined &&
        (kind !== 'asset' || event.asset === id) &&
        after(event.cursor, at.since)
      )
        at.since = event.cursor;
    }
  }

  ended({ code, reason }) {
    for (const ask of this.#asked.values()) ask.reject(new StagemillError(reason || 'disconnected', { code }));
    this.#asked.clear();
  }
}

/** True when cursor `a` is after `b`. Cursors are whole numbers in commit order, maybe larger than a double holds. */
export function after(a, b) {
  if (b === undefined || b === null || b === '') return true;
  const [x, y] = [String(a), String(b)];
  return x.length !== y.length ? x.length > y.length : x > y;
}

export const openSession = (options) => new Session(options);
