// counters.js - how many jobs are in each state, kept from events alone. A snapshot of /stats says where counting starts: it
// was true at a cursor, so events up to that cursor are in it already and later ones move the counts. Events do not wait for
// an answer that is on its way: what they moved meanwhile is kept, and moved again when the snapshot is older.
import { after } from '../client/stagemill.js';

const statWords = { waiting: 'queued', done: 'completed' };
const words = ['queued', 'processing', 'retrying', 'held', 'paused', 'completed', 'failed', 'cancelled'];

/** What a job must have been before an event, when nobody told us. `undefined`: it may have been several things. */
const before = { started: 'queued', completed: 'processing' };

export class Counters {
  counts = Object.fromEntries(words.map((word) => [word, 0]));
  uncertain = false; // something moved and we do not know from where: only a new snapshot makes it right
  #from = null;
  #last = null; // cursor of the last stored event
  #moves = null; // since a snapshot was asked for

  /** A snapshot is asked for now. */
  expect() {
    this.#moves = [];
  }

  /** The snapshot did not come. */
  giveUp(error) {
    this.#moves = null;
    throw error;
  }

  start(stats) {
    for (const word of words) this.counts[word] = 0;
    for (const [word, value] of Object.entries(stats)) {
      const own = statWords[word] ?? word;
      if (own in this.counts) this.counts[own] = value;
    }
    this.#from = stats.cursor ?? null;
    this.uncertain = false;
    const meanwhile = this.#moves ?? [];
    this.#moves = null;
    for (const { cursor, was, is } of meanwhile) if (this.#isLater(cursor)) this.#move(was, is);
  }

  #isLater(cursor) {
    return this.#from === null || cursor === null || after(cursor, this.#from);
  }

  /** `was` and `is`: status words of the job before and after the event; was null: the job was not known. */
  heard(event, was, is) {
    if (event.cursor !== undefined) this.#last = event.cursor;
    const isNew = event.type === 'queued' && (event.round ?? 1) === 1;
    const from = isNew ? null : (was ?? before[event.type]);
    if (from === is) return;
    if (from !== undefined) this.#moves?.push({ cursor: this.#last, was: from, is });
    if (!this.#isLater(this.#last)) return;
    if (from === undefined) this.uncertain = true;
    else this.#move(from, is);
  }

  #move(was, is) {
    if (was) this.counts[was] = Math.max(0, this.counts[was] - 1);
    if (is in this.counts) this.counts[is]++;
  }

  /** A job was deleted. */
  gone(was) {
    if (was in this.counts) this.counts[was] = Math.max(0, this.counts[was] - 1);
  }
}
