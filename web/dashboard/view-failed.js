// view-failed.js - the dead letters: what failed for good, why, and the way back.
import { busy, eachFrame, h, text, toast } from './dom.js';
import { ago, count } from './format.js';
import { editAndRequeue } from './requeue.js';

const shownMax = 150;

function card(model, job, picked, onPick) {
  const box = h('input', {
    type: 'checkbox',
    'aria-label': `choose ${job.title || job.id}`,
    onchange: () => onPick(job.id, box.checked),
  });
  box.checked = picked;
  return h(
    'tr',
    { data: { id: job.id, status: 'failed' } },
    h('td', { class: 'choose' }, box),
    h(
      'td',
      null,
      h('a', { href: `#/jobs/${encodeURIComponent(job.id)}` }, job.title || job.id),
      h('div', { class: 'help' }, [job.pipeline, job.asset].filter(Boolean).join(' · ')),
    ),
    h('td', null, h('strong', null, job.error?.stage ?? ''), h('div', { class: 'problem' }, job.error?.message ?? '')),
    h('td', { class: 'tight' }, job.error?.code ?? ''),
    h('td', { class: 'tight' }, `${job.attempt} of ${job.maxAttempts ?? '?'}`),
    h('td', { class: 'tight' }, ago(job.endedAt)),
    h(
      'td',
      { class: 'tight' },
      h(
        'button',
        { type: 'button', onclick: (event) => busy(event.currentTarget, () => editAndRequeue(model, job.id)) },
        'Edit and requeue …',
        h('span', { class: 'sr' }, ` ${job.title || job.id}`),
      ),
    ),
  );
}

export function failedView(model) {
  const picked = new Set();
  const rows = h('tbody', null);
  const empty = h('p', { class: 'empty', hidden: true }, 'Nothing has failed.');
  const found = h('p', { class: 'found', role: 'status' });
  const some = (word, act) =>
    h(
      'button',
      { type: 'button', disabled: true, onclick: (event) => busy(event.currentTarget, act).then(draw) },
      word,
    );
  const each = (act, said) => async () => {
    let done = 0;
    for (const id of [...picked]) {
      await act(id);
      picked.delete(id);
      done++;
    }
    toast(`${count(done)} ${said}`);
  };
  const retry = some(
    'Requeue chosen',
    each((id) => model.api.retry(id), 'requeued.'),
  );
  const remove = some('Delete chosen', async () => {
    if (!confirm(`Delete ${picked.size} jobs and their files?`)) return;
    await each(async (id) => {
      await model.api.remove(id);
      model.forget(id);
    }, 'deleted.')();
  });
  remove.classList.add('danger');
  const all = h('input', {
    type: 'checkbox',
    'aria-label': 'choose all',
    onchange: () => {
      for (const job of listed())
        if (all.checked) picked.add(job.id);
        else picked.delete(job.id);
      draw();
    },
  });
  const onPick = (id, on) => {
    if (on) picked.add(id);
    else picked.delete(id);
    buttons();
  };
  const listed = () =>
    [...model.jobs.values()]
      .filter((job) => job.status === 'failed')
      .sort((a, b) => ((a.endedAt ?? '') < (b.endedAt ?? '') ? 1 : -1));
  const buttons = () => {
    retry.disabled = remove.disabled = picked.size === 0;
  };
  const table = h(
    'div',
    { class: 'card scroll', tabindex: '0', role: 'region', 'aria-label': 'Failed jobs' },
    h(
      'table',
      { 'aria-label': 'Failed jobs' },
      h(
        'thead',
        null,
        h(
          'tr',
          null,
          h('th', { scope: 'col' }, all),
          ['Job', 'Error', 'Code', 'Attempts', 'When', 'What to do'].map((word) => h('th', { scope: 'col' }, word)),
        ),
      ),
      rows,
    ),
  );
  let drawn = '';

  const draw = eachFrame(() => {
    const jobs = listed();
    for (const id of picked) if (model.jobs.get(id)?.status !== 'failed') picked.delete(id);
    const key = jobs.map((job) => job.id + picked.has(job.id)).join();
    buttons();
    if (key === drawn) return;
    drawn = key;
    rows.replaceChildren(...jobs.slice(0, shownMax).map((job) => card(model, job, picked.has(job.id), onPick)));
    table.hidden = !jobs.length;
    empty.hidden = jobs.length > 0;
    text(
      found,
      jobs.length > shownMax ? `the newest ${shownMax} of ${count(jobs.length)}` : `${count(jobs.length)} failed`,
    );
  });
  const stop = model.watch((what) => (what.order || what.jobs) && draw());
  const element = h(
    'div',
    { class: 'page' },
    h('h1', null, 'Failed jobs'),
    h('div', { class: 'tools' }, retry, remove, found),
    table,
    empty,
  );
  return { element, title: 'Failed', shown: draw, destroy: stop };
}
