// model.js - all that the pages show: jobs, counts, the line to the daemon. Filled once over HTTP, then kept by events.
import { emptyJob, hasEnded, openSession, reduceJob } from '../client/stagemill.js';
import { Api } from '../client/rest.js';
import { Counters } from './counters.js';
import { throttle } from './dom.js';

const page = 200; // jobs of the first request: enough to paint
const pageMore = 1000;
const jobsMax = 10000; // older ones stay with the daemon

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

  async #count() {
    this.counters.start(await this.api.stats());
    this.#tell({ counts: true });
  }

  #take(listed) {
    for (const job of listed) {
      const known = this.jobs.get(job.id);
      if (known && known.lastSeq > job.lastSeq) continue; // an event was faster than the list
      this.jobs.set(job.id, {
        ...emptyJob,
        stages: known?.stages ?? emptyJob.stages,
        etaSeconds: known?.etaSeconds ?? null,
        ...job,
      });
    }
    this.#tell({ order: true });
  }

  /** A job with all its stages: for its page, and for rows whose stages were never heard of. */
  async detail(id) {
    const detail = await this.api.job(id);
    const known = this.jobs.get(id) ?? emptyJob;
    const stages = {};
    for (const stage of detail.stages)
      stages[stage.id] = { ...known.stages[stage.id], ...stage, pct: stage.pct ?? known.stages[stage.id]?.pct };
    if (known.lastSeq <= detail.lastSeq) {
      const { stages: list, attempts, spec, notify, ...job } = detail;
      this.jobs.set(id, { ...known, ...job, stages });
    } else {
      for (const stage of detail.stages) stages[stage.id] = { ...stage, ...known.stages[stage.id] };
      this.jobs.set(id, { ...known, stages });
    }
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
    const stats = await this.api.stats();
    this.jobs.clear();
    this.counters.start(stats);
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
