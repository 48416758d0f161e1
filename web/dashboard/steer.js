// steer.js - what can be done with a job, as buttons that appear when they make sense.
import { hasEnded } from '../client/stagemill.js';
import { busy, h, toast } from './dom.js';
import { editAndRequeue } from './requeue.js';

const live = (job) => !hasEnded(job.status);
const actions = [
  {
    word: 'Pause',
    when: (job) => live(job) && job.status !== 'paused',
    act: (api, job) => api.pause(job.id),
    said: 'It pauses after its current pass.',
  },
  {
    word: 'Resume',
    when: (job) => job.status === 'paused',
    act: (api, job) => api.resume(job.id),
    said: 'It goes on.',
  },
  {
    word: 'First in queue',
    when: (job) => job.status === 'queued',
    act: (api, job) => api.prioritise(job.id, 'high'),
    said: 'Its priority is high now.',
  },
  { word: 'Cancel', kind: 'danger', when: live, act: (api, job) => api.cancel(job.id), said: 'It is being cancelled.' },
  {
    word: 'Retry',
    kind: 'primary',
    when: (job) => job.status === 'failed' || job.status === 'cancelled',
    act: (api, job) => api.retry(job.id),
    said: 'It is in the queue again.',
  },
];

export function steering(model, id) {
  const box = h('div', { class: 'actions' });
  let drawn = '';
  const draw = (job) => {
    const wanted = actions.filter((action) => action.when(job));
    const key = `${wanted.map((action) => action.word)}${hasEnded(job.status)}`;
    if (key === drawn) return;
    drawn = key;
    const focused = box.contains(document.activeElement);
    const buttons = wanted.map((action) =>
      h(
        'button',
        {
          type: 'button',
          class: action.kind,
          onclick: (event) =>
            busy(event.currentTarget, async () => {
              await action.act(model.api, model.jobs.get(id));
              toast(action.said);
            }),
        },
        action.word,
      ),
    );
    if (job.status === 'failed' || job.status === 'cancelled')
      buttons.push(
        h(
          'button',
          { type: 'button', onclick: (event) => busy(event.currentTarget, () => editAndRequeue(model, id)) },
          'Edit and requeue …',
        ),
      );
    if (hasEnded(job.status))
      buttons.push(
        h(
          'button',
          { type: 'button', class: 'quiet', onclick: (event) => busy(event.currentTarget, () => remove(model, id)) },
          'Delete',
        ),
      );
    box.replaceChildren(...buttons);
    if (focused) box.firstChild?.focus();
  };
  return { element: box, draw };
}

async function remove(model, id) {
  if (!confirm('Delete this job and all its files?')) return;
  await model.api.remove(id);
  model.forget(id);
  location.hash = '#/';
}

/** A stage that waits for a person: what to look at, what to fill in, the two answers. */
export function decision(model, id) {
  const box = h('section', { class: 'card form', data: { status: 'held' }, 'aria-label': 'Decision', hidden: true });
  let hold = null;
  let shownFor = null;

  function form() {
    const values = hold.fields.map((name) => [name, h('input', { id: `decision-${name}`, autocomplete: 'off' })]);
    const comment = h('input', { id: 'decision-comment', autocomplete: 'off' });
    const decide = (word) => (event) =>
      busy(event.currentTarget, async () => {
        const given = Object.fromEntries(
          values.filter(([, input]) => input.value).map(([name, input]) => [name, input.value]),
        );
        const edited = word === 'released' && values.length ? { values: given } : {};
        await model.api.release(id, {
          stage: hold.stage,
          decision: word,
          comment: comment.value || undefined,
          ...edited,
        });
        toast(word === 'released' ? 'It goes on.' : 'It is rejected.');
      });
    const field = (label, input) => h('div', { class: 'field' }, h('label', { for: input.id }, label), input);
    return [
      h('h2', null, hold.title || `${hold.stage} waits for a decision`),
      hold.message ? h('p', null, hold.message) : null,
      ...values.map(([name, input]) => field(name.replaceAll('_', ' '), input)),
      field('Comment', comment),
      h(
        'div',
        { class: 'buttons' },
        h('button', { type: 'button', class: 'primary', onclick: decide('released') }, 'Release'),
        h('button', { type: 'button', class: 'danger', onclick: decide('rejected') }, 'Reject'),
      ),
    ].filter(Boolean);
  }

  return {
    element: box,
    /** Events of the past say what is asked, too. */
    hear(event) {
      if (event.type === 'state' && event.status === 'held' && event.stage) hold = { fields: [], ...event };
    },
    draw(job) {
      hold = job.hold ?? hold;
      box.hidden = job.status !== 'held' || !hold;
      if (box.hidden) shownFor = null;
      else if (shownFor !== hold.stage) {
        shownFor = hold.stage;
        box.replaceChildren(...form());
      }
    },
  };
}
