// model.js - all that the pages show: jobs, counts, the line to the daemon. Filled once over HTTP, then kept by events.
import { emptyJob, hasEnded, openSession, reduceJob } from '../client/stagemill.js';
import { Api } from '../client/rest.js';
import { Counters } from './counters.js';
import { throttle } from './dom.js';

const page = 200; // jobs of the first request: enough to paint
const pageMore = 1000;
const jobsMax = 10000; // older ones stay with the daemon

/** `job` with what it does not know taken from `more`. */
function filled(job, more) {
  const known = Object.entries(job).filter(
    ([key, value]) => value !== null && value !== undefined && job[key] !== emptyJob[key],
  );
  return { ...emptyJob, ...more, ...Object.fromEntries(known) };
}

/** Highest priority first, then the oldest. */
export const byTurn = (a, b) => (b.priority ?? 50) - (a.priority ?? 50) || (a.id < b.id ? -1 : 1);

export class Model {
  jobs = new Map();
  counters = new Counters();
  pipelines = new Map();
  loaded = false;
  older = null; // cursor of what was not loaded
  connection = { connection: 'connecting' };
  admin = false;
  #listeners = new Set();
  #watched = new Map(); // job id -> listener of its events
  #session = null;

  constructor(token) {
    this.token = token;
    this.api = new Api({ token });
    this.changed = { jobs: new Set(), order: false, counts: false };
    this.correct = throttle(500, () => this.#count().catch(() => {}));
  }

  /** `listener(what)` with {jobs: Set of ids, order, counts, connection}, as often as events come: draw once a frame. */
  watch(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  watchJob(id, listener) {
    this.#watched.set(id, listener);
    return () => this.#watched.delete(id);
  }

  #tell(what) {
    for (const listener of this.#listeners) listener(what);
  }

  async start() {
    const [who, stats] = await Promise.all([this.api.whoami(), this.api.stats()]);
    this.admin = who.scopes.includes('admin');
    this.counters.start(stats);
    this.#tell({ counts: true });
    const [first, pipelines] = await Promise.all([
      this.api.jobs({ limit: page }),
      this.api.pipelines().catch(() => []),
    ]);
    for (const pipeline of pipelines) this.pipelines.set(pipeline.name, pipeline);
    this.#take(first.jobs);
    this.older = first.next;
    this.#follow(stats.cursor);
    // What is left can wait until the first page is painted; when it fails, the line says so itself.
    setTimeout(() => this.more().catch(() => {}), 100);
    return this;
  }

  close() {
    this.#session?.close();
  }

  /** Loads what is left, up to the limit; then the counts start again from a snapshot that covers all of it. */
  async more(limit = jobsMax) {
    while (this.older && this.jobs.size < limit) {
      const next = await this.api.jobs({ limit: pageMore, cursor: this.older });
      this.#take(next.jobs);
      this.older = next.next;
    }
    await this.#count();
    this.loaded = true;
    this.#tell({ order: true, counts: true });
  }

  /** One snapshot at a time: events that come while it is on its way are moved again if it is older than they. */
  async #count() {
    this.counting = (this.counting ?? Promise.resolve())
      .catch(() => {})
      .then(async () => {
        this.counters.expect();
        this.counters.start(await this.api.stats().catch((error) => this.counters.giveUp(error)));
        this.#tell({ counts: true });
      });
    return this.counting;
  }

  #take(listed) {
    for (const job of listed) {
      const known = this.jobs.get(job.id);
      // An event may have been faster than the list: then the list only fills in what events do not say.
      if (known && known.lastSeq > job.lastSeq) this.jobs.set(job.id, filled(known, job));
      else this.jobs.set(job.id, { ...filled(emptyJob, job), stages: known?.stages ?? emptyJob.stages });
    }
    this.#tell({ order: true });
  }

  /** A job with all its stages: for its page, and for rows whose stages were never heard of. What a known job has become is
   * left to its events, which may still be on their way: a change that is not heard is not counted. */
  async detail(id) {
    const detail = await this.api.job(id);
    const { stages: list, attempts, spec, notify, ...job } = detail;
    const known = this.jobs.get(id);
    const stages = {};
    for (const stage of list) stages[stage.id] = { ...known?.stages[stage.id], ...stage };
    if (!known?.status) this.correct();
    const base = known?.status ? filled(known, job) : filled(emptyJob, job);
    const position = base.status === job.status ? { queuePosition: job.queuePosition ?? null } : {};
    this.jobs.set(id, {
      ...base,
      ...position,
      stages: known && known.lastSeq > detail.lastSeq ? { ...stages, ...known.stages } : stages,
    });
    this.#tell({ jobs: new Set([id]) });
    return detail;
  }

  #follow(cursor) {
    this.#session = openSession({
      token: this.token,
      reconnectTries: Infinity,
      reconnectDelayMs: 500,
      reconnectMaxDelayMs: 10000,
    });
    this.#session.subscribe(this.admin ? 'all' : 'own', { since: cursor, minInterval: 0.2 });
    this.#session.on('*', (event) => this.#heard(event));
    this.#session.on('connection', (change) => this.#connectionChanged(change));
  }

  reconnect() {
    this.#session?.reconnect();
  }

  #connectionChanged(change) {
    const fell = this.connection.connection === 'connected';
    if (fell) this.wasDown = true;
    this.connection = change;
    this.#tell({ connection: true });
    if (change.connection === 'connected' && this.wasDown) this.#recover().catch(() => {});
  }

  /** After a fall the stream itself brings what was missed; what has no event (a running job that a restart put back into
   * the queue) is read again. */
  async #recover() {
    this.wasDown = false;
    let cursor;
    do {
      const live = await this.api.jobs({ status: 'queued,processing,retrying,held,paused', limit: pageMore, cursor });
      this.#take(live.jobs);
      cursor = live.next;
    } while (cursor);
    await this.#count();
  }

  #heard(event) {
    if (event.type === 'gap') return void this.#reload();
    if (!event.jobId || event.type.startsWith('batch')) return;
    const known = this.jobs.get(event.jobId);
    const stored = event.cursor !== undefined;
    if (known && stored && event.seq <= known.lastSeq) return this.#pass(event); // the list was faster
    const job = reduceJob(known ?? emptyJob, event);
    if (!known && event.type !== 'queued') this.correct(); // older than what was loaded
    this.counters.heard(event, known?.status ?? null, job.status);
    if (this.counters.uncertain) this.correct();
    this.jobs.set(job.id, job);
    this.#pass(event);
    this.#tell({ jobs: new Set([job.id]), order: known?.status !== job.status, counts: known?.status !== job.status });
  }

  #pass(event) {
    this.#watched.get(event.jobId)?.(event);
  }

  async #reload() {
    this.jobs.clear();
    await this.#count();
    const first = await this.api.jobs({ limit: page });
    this.#take(first.jobs);
    this.older = first.next;
    await this.more();
  }

  forget(id) {
    const job = this.jobs.get(id);
    if (!job) return;
    this.counters.gone(job.status);
    this.jobs.delete(id);
    this.#tell({ order: true, counts: true });
  }

  /** Where each waiting job stands, in the order the daemon takes them: known to whoever sees all of them. */
  positions() {
    if (!this.admin || !this.loaded || this.older) return new Map();
    const waiting = [...this.jobs.values()].filter((job) => job.status === 'queued').sort(byTurn);
    return new Map(waiting.map((job, i) => [job.id, i + 1]));
  }

  /** The stages of a job in the order of its pipeline, as far as they are known. */
  stagesOf(job) {
    const order = this.pipelines.get(job.pipeline)?.stages ?? [];
    const listed = order.map((stage) => ({
      status: hasEnded(job.status) && job.status === 'completed' ? 'finished' : 'waiting',
      ...stage,
      ...job.stages[stage.id],
    }));
    const extra = Object.values(job.stages).filter((stage) => !order.some((known) => known.id === stage.id));
    return extra.length === Object.keys(job.stages).length && extra.length ? extra : [...listed, ...extra];
  }
}
