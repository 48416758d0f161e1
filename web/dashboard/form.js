// form.js - fields made from a pipeline's parameter tables.
import { h } from './dom.js';

const numeric = new Set(['integer', 'number']);

/** What a parameter takes, as the daemon lists it. */
export const kindsOf = (param) => param.takes ?? ['text'];

function placeholder(param, kinds) {
  if (param.default !== null && param.default !== undefined && param.default !== '') return String(param.default);
  const examples = {
    duration: '6s, 5m',
    size: '800k, 1.5G',
    bitrate: '800k',
    percent: '10%',
    target: 'folder, https:// or s3:// address',
    file: 'path',
  };
  return kinds.map((kind) => examples[kind]).find(Boolean) ?? '';
}

function control(param, id, kinds, value) {
  const described = { id, name: param.name, 'aria-describedby': `${id}-help`, required: param.required || undefined };
  if (param.choices?.length) {
    const chosen = value ?? param.default;
    const options = param.choices.map((choice) =>
      h('option', { value: choice, selected: String(choice) === String(chosen) }, choice),
    );
    if (chosen === undefined || chosen === null) options.unshift(h('option', { value: '' }, ''));
    return h('select', described, options);
  }
  if (kinds.includes('bool') && kinds.length === 1)
    return h('input', {
      ...described,
      type: 'checkbox',
      required: undefined,
      checked: value ?? (param.default === true || param.default === 'true'),
    });
  const only = kinds.every((kind) => numeric.has(kind));
  const input = h('input', {
    ...described,
    type: only ? 'number' : 'text',
    step: only && !kinds.includes('integer') ? 'any' : undefined,
    min: only ? param.min : undefined,
    max: only ? param.max : undefined,
    placeholder: placeholder(param, kinds),
    autocomplete: 'off',
    spellcheck: 'false',
  });
  if (value !== undefined && value !== null) input.value = typeof value === 'object' ? JSON.stringify(value) : value;
  return input;
}

/** {element, read()}: read answers what differs from the defaults, typed. */
export function paramForm(params, values = {}, prefix = 'param') {
  const fields = params.map((param) => {
    const id = `${prefix}-${param.name}`;
    const kinds = kindsOf(param);
    const input = control(param, id, kinds, values[param.name]);
    const check = input.type === 'checkbox';
    const label = h(
      'label',
      { for: id },
      param.name.replaceAll('_', ' '),
      param.required ? h('span', { class: 'required', 'aria-hidden': 'true' }, ' *') : null,
    );
    const unit = param.unit ? ` (${param.unit})` : '';
    const help = h('span', { class: 'help', id: `${id}-help` }, `${param.summary ?? ''}${unit}`);
    return {
      param,
      kinds,
      input,
      element: h(
        'div',
        { class: check ? 'field check' : 'field' },
        check ? [input, label, help] : [label, input, help],
      ),
    };
  });
  const read = () => {
    const given = {};
    for (const { param, kinds, input } of fields) {
      if (input.type === 'checkbox') {
        const otherwise = values[param.name] ?? (param.default === true || param.default === 'true');
        if (input.checked !== otherwise || param.name in values) given[param.name] = input.checked;
      } else if (input.value !== '') {
        given[param.name] = kinds.every((kind) => numeric.has(kind)) ? Number(input.value) : input.value;
      }
    }
    return given;
  };
  return {
    element: h(
      'div',
      { class: 'fields' },
      fields.map((field) => field.element),
    ),
    read,
    empty: !fields.length,
  };
}
