// requeue.js - a failed job, its parameters edited, back into the queue.
import { busy, h, toast } from './dom.js';
import { paramForm } from './form.js';

const masked = /^\*+$|^•+$|\[masked\]|\[secret\]/;

export async function editAndRequeue(model, id) {
  const detail = await model.detail(id);
  const params = model.pipelines.get(detail.pipeline)?.params ?? [];
  const before = detail.spec?.params ?? {};
  const open = Object.fromEntries(
    Object.entries(before).filter(([, value]) => !(typeof value === 'string' && masked.test(value))),
  );
  const form = paramForm(params, open, 'requeue');
  const from = h(
    'select',
    { id: 'requeue-from' },
    h('option', { value: '' }, 'where it failed'),
    h('option', { value: '*' }, 'from the beginning'),
    detail.stages.map((stage) => h('option', { value: stage.id }, `from ${stage.id}`)),
  );
  const cancel = h('button', { type: 'button', onclick: () => dialog.close() }, 'Keep it as it is');
  const dialog = h(
    'dialog',
    { 'aria-labelledby': 'requeue-title', onclose: () => dialog.remove() },
    h(
      'form',
      {
        class: 'form',
        onsubmit: (event) => {
          event.preventDefault();
          busy(event.submitter, async () => {
            await send(model, id, from.value, changes(form.read(), open));
            dialog.close();
            toast('It is in the queue again.');
          });
        },
      },
      h('h2', { id: 'requeue-title' }, `Requeue ${detail.title || id}`),
      detail.error ? h('p', { class: 'note', data: { status: 'failed' } }, detail.error.message ?? detail.error) : null,
      form.empty
        ? h('p', { class: 'help' }, 'This pipeline has no parameters, or is not on the shelf any more.')
        : form.element,
      h('div', { class: 'field' }, h('label', { for: 'requeue-from' }, 'Begin'), from),
      h('div', { class: 'buttons' }, h('button', { class: 'primary' }, 'Requeue'), cancel),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}

const changes = (now, before) =>
  Object.fromEntries(Object.entries(now).filter(([name, value]) => String(before[name]) !== String(value)));

async function send(model, id, from, params) {
  const fields = Object.keys(params).length ? { params } : {};
  if (from === '*') fields.whole = true;
  else if (from) fields.from = from;
  await model.api.retry(id, fields);
}
