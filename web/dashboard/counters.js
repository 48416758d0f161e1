// counters.js - how many jobs are in each state, kept from events alone. A snapshot of /stats says where counting starts: it
// was true at a cursor, so events up to that cursor are in it already and later ones move the counts.
import { after } from '../client/stagemill.js';

const statWords = { waiting: 'queued', done: 'completed' };
const words = ['queued', 'processing', 'retrying', 'held', 'paused', 'completed', 'failed', 'cancelled'];

/** What a job must have been before an event, when nobody told us. `undefined`: it may have been several things. */
const before = { started: 'queued', completed: 'processing' };

export class Counters {
  counts = Object.fromEntries(words.map((word) => [word, 0]));
  uncertain = false; // something moved and we do not know from where: only a new snapshot makes it right
  #from = null;

  start(stats) {
    for (const word of words) this.counts[word] = 0;
    for (const [word, value] of Object.entries(stats)) {
      const own = statWords[word] ?? word;
      if (own in this.counts) this.counts[own] = value;
    }
    this.#from = stats.cursor ?? null;
    this.uncertain = false;
  }

  /** `was` and `is`: status words of the job before and after the event; was null: the job was not known. */
  heard(event, was, is) {
    if (this.#from !== null && event.cursor !== undefined && !after(event.cursor, this.#from)) return;
    const isNew = event.type === 'queued' && (event.round ?? 1) === 1;
    const from = isNew ? null : (was ?? before[event.type]);
    if (from === undefined) this.uncertain = true;
    if (from === is || from === undefined) return;
    if (from) this.counts[from] = Math.max(0, this.counts[from] - 1);
    if (is in this.counts) this.counts[is]++;
  }

  /** A job was deleted. */
  gone(was) {
    if (was in this.counts) this.counts[was] = Math.max(0, this.counts[was] - 1);
  }
}
