// status.js - the words of a state, never by colour alone: a sign and a word.
import { h } from './dom.js';

const signs = {
  queued: '○',
  processing: '◐',
  retrying: '↻',
  held: '◇',
  paused: '‖',
  completed: '✓',
  failed: '✕',
  cancelled: '⊘',
  waiting: '○',
  running: '◐',
  delayed: '↻',
  publishing: '◐',
  finished: '✓',
  skipped: '–',
  'soft-failed': '!',
};

const shown = { waiting: 'waiting', 'soft-failed': 'failed softly' };

export function pill(status) {
  const word = status ?? 'waiting';
  return h(
    'span',
    { class: 'pill', data: { status: word } },
    h('span', { class: 'sign', 'aria-hidden': 'true' }, signs[word] ?? '·'),
    shown[word] ?? word,
  );
}

export const signOf = (status) => signs[status] ?? '·';

export function bar(pct, label, status) {
  const value = Math.max(0, Math.min(100, pct ?? 0));
  const fill = h('span', { class: 'fill', style: { width: `${value}%` } });
  return h(
    'span',
    {
      class: 'bar',
      role: 'progressbar',
      'aria-label': label,
      'aria-valuemin': 0,
      'aria-valuemax': 100,
      'aria-valuenow': Math.floor(value),
      data: { status },
    },
    fill,
  );
}

export function setBar(element, pct, status) {
  const value = Math.max(0, Math.min(100, pct ?? 0));
  element.firstChild.style.width = `${value}%`;
  element.setAttribute('aria-valuenow', Math.floor(value));
  element.dataset.status = status ?? '';
}
