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

/** A stage that waits for a person. */
export function decision(model, id) {
  const box = h('div', { class: 'card', data: { status: 'held' }, hidden: true });
  let shownFor = null;
  return {
    element: box,
    draw(job) {
      const stage = Object.values(job.stages).find(
        (one) => one.status === 'held' || (one.uses === 'hold' && one.status === 'running'),
      );
      const name = job.status === 'held' ? (stage?.id ?? job.stage) : null;
      box.hidden = !name;
      if (!name || shownFor === name) return;
      shownFor = name;
      const comment = h('input', { id: 'decision-comment', autocomplete: 'off' });
      const decide = (word) => (event) =>
        busy(event.currentTarget, () =>
          model.api.release(id, { stage: name, decision: word, comment: comment.value || undefined }),
        );
      box.replaceChildren(
        h('h2', null, `${name} waits for a decision`),
        h('div', { class: 'field' }, h('label', { for: 'decision-comment' }, 'Comment'), comment),
        h(
          'div',
          { class: 'buttons' },
          h('button', { type: 'button', class: 'primary', onclick: decide('released') }, 'Release'),
          h('button', { type: 'button', class: 'danger', onclick: decide('rejected') }, 'Reject'),
        ),
      );
    },
  };
}
