// view-submit.js - a new job: a file dropped here, or the address of one, a pipeline, its parameters.
import { busy, h, text, toast } from './dom.js';
import { bytes, percent } from './format.js';
import { paramForm } from './form.js';
import { bar, setBar } from './status.js';

function dropZone(chosen) {
  const input = h('input', {
    type: 'file',
    id: 'file',
    class: 'sr',
    tabindex: '-1',
    'aria-hidden': 'true',
    accept: 'video/*,audio/*,image/*,.mkv,.ts,.mxf',
    onchange: () => take(input.files[0]),
  });
  const name = h('p', { class: 'name' }, 'Drop a file here');
  const zone = h(
    'div',
    { class: 'drop', id: 'drop' },
    name,
    h('p', { class: 'help' }, 'or'),
    h('button', { type: 'button', id: 'choose', onclick: () => input.click() }, 'Choose a file …'),
    input,
  );
  const take = (file) => {
    if (!file) return;
    text(name, `${file.name} (${bytes(file.size)})`);
    chosen(file);
  };
  let inside = 0;
  zone.addEventListener('dragenter', () => zone.classList.toggle('over', ++inside > 0));
  zone.addEventListener('dragleave', () => zone.classList.toggle('over', --inside > 0));
  zone.addEventListener('dragover', (event) => event.preventDefault());
  zone.addEventListener('drop', (event) => {
    event.preventDefault();
    inside = 0;
    zone.classList.remove('over');
    take(event.dataTransfer.files[0]);
  });
  return zone;
}

const field = (id, label, input, help) =>
  h(
    'div',
    { class: 'field' },
    h('label', { for: id }, label),
    input,
    h('span', { class: 'help', id: `${id}-help` }, help),
  );

export function submitView(model) {
  let file = null;
  let params = paramForm([]);
  let needsInput = true;
  const address = h('input', {
    id: 'address',
    autocomplete: 'off',
    spellcheck: 'false',
    placeholder: 'https://…, s3://…, uploads/… or a path',
    'aria-describedby': 'address-help',
  });
  const pipeline = h('select', { id: 'pipeline', onchange: () => choose(), 'aria-describedby': 'pipeline-help' });
  const paramBox = h('fieldset', { class: 'card', style: { margin: '0' } });
  const title = h('input', { id: 'title', autocomplete: 'off', 'aria-describedby': 'title-help' });
  const asset = h('input', { id: 'asset', autocomplete: 'off', 'aria-describedby': 'asset-help' });
  const send = h('button', { class: 'primary', id: 'send' }, 'Submit');
  const plan = h('button', { type: 'button', onclick: (event) => busy(event.currentTarget, preview) }, 'Show the plan');
  const planText = h('pre', { class: 'plan', hidden: true, tabindex: '0', 'aria-label': 'Plan' });
  const progress = bar(0, 'upload');
  const said = h('p', { class: 'help', role: 'status' });
  const moving = h('div', { class: 'overall', hidden: true }, progress, said);
  const drop = dropZone((taken) => {
    file = taken;
    address.value = '';
    if (!title.value) title.placeholder = taken.name;
  });
  address.addEventListener('input', () => {
    if (address.value) file = null;
  });

  function choose() {
    const chosen = model.pipelines.get(pipeline.value);
    if (!chosen) return;
    params = paramForm(chosen.params ?? []);
    text(document.getElementById('pipeline-help') ?? h('span'), chosen.title ?? chosen.summary ?? '');
    needsInput = chosen.readsInput !== false;
    inputBox.hidden = !needsInput;
    paramBox.hidden = params.empty;
    paramBox.replaceChildren(h('legend', null, 'Parameters'), params.element);
    planText.hidden = true;
  }

  async function preview() {
    const answer = await model.api.post(`/pipelines/${encodeURIComponent(pipeline.value)}/plan`, {
      input: address.value || undefined,
      params: params.read(),
    });
    planText.textContent = answer.text ?? JSON.stringify(answer, null, 2);
    planText.hidden = false;
  }

  async function submit() {
    const more = {
      pipeline: pipeline.value,
      params: params.read(),
      title: title.value || undefined,
      asset: asset.value || undefined,
    };
    if (!file) return (await model.api.submit({ ...more, input: address.value || undefined })).id;
    moving.hidden = false;
    const answer = await model.api.upload(file, {
      pipeline: more.pipeline,
      params: more.params,
      asset: more.asset,
      onProgress: ({ loaded, total }) => {
        setBar(progress, (100 * loaded) / total, 'processing');
        text(said, `${bytes(loaded)} of ${bytes(total)} (${percent((100 * loaded) / total)})`);
      },
    });
    return answer.jobId;
  }

  const inputBox = h(
    'section',
    { class: 'card form', 'aria-label': 'Input' },
    drop,
    field(
      'address',
      'or the address of the input',
      address,
      'A URL, the key of an upload, or a path the daemon may read.',
    ),
  );
  const form = h(
    'form',
    {
      class: 'form',
      onsubmit: (event) => {
        event.preventDefault();
        if (needsInput && !file && !address.value) return askForInput();
        busy(send, async () => {
          try {
            location.hash = `#/jobs/${encodeURIComponent(await submit())}`;
            toast('Submitted.');
          } finally {
            moving.hidden = true;
          }
        });
      },
    },
    h(
      'section',
      { class: 'card', 'aria-label': 'Job' },
      h(
        'div',
        { class: 'fields' },
        field('pipeline', 'Pipeline', pipeline, ''),
        field('title', 'Title', title, 'How the job is listed; absent: the name of the input.'),
        field('asset', 'Asset', asset, 'What the job is about, in your own words: a video’s id.'),
      ),
    ),
    inputBox,
    paramBox,
    h('div', { class: 'buttons' }, send, plan),
    moving,
    planText,
  );

  function askForInput() {
    toast('Drop a file or write the address of one.', 'error');
    document.getElementById('choose').focus();
  }

  function fillPipelines() {
    const names = [...model.pipelines.keys()];
    if (pipeline.options.length === names.length) return;
    pipeline.replaceChildren(...names.map((name) => h('option', { value: name }, name)));
    choose();
  }
  const stop = model.watch((what) => what.order && fillPipelines());
  const element = h('div', { class: 'page' }, h('h1', null, 'Submit'), form);
  return { element, title: 'Submit', shown: fillPipelines, destroy: stop };
}
