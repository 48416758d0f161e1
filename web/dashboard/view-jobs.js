// view-jobs.js - the first page: counts, charts, every job.
import { hasEnded } from '../client/stagemill.js';
import { queueChart, throughputChart } from './charts.js';
import { attribute, eachFrame, h, text, throttle } from './dom.js';
import { ago, count, outlook, percent } from './format.js';
import { WindowedList } from './list.js';
import { byTurn } from './model.js';
import { bar, setBar, signOf } from './status.js';

const cards = [
  ['queued', 'Queued'],
  ['processing', 'Processing'],
  ['completed', 'Completed'],
  ['failed', 'Failed'],
];
const rest = ['retrying', 'held', 'paused', 'cancelled'];
const rank = { processing: 0, retrying: 0, held: 0, paused: 0, queued: 1 };
const rowHeight = 68;

/** What runs stands first, then what waits in its order, then what has ended, the newest first. */
export function ordered(jobs, { status, words }) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [];
  for (const job of jobs) {
    if (status && job.status !== status) continue;
    if (wanted.length && !matches(job, wanted)) continue;
    found.push(job);
  }
  return found.sort(before);
}

function matches(job, wanted) {
  const all =
    `${job.id} ${job.title ?? ''} ${job.pipeline ?? ''} ${job.asset ?? ''} ${job.owner ?? ''} ${job.status}`.toLowerCase();
  return wanted.every((word) => all.includes(word));
}

function before(a, b) {
  const [x, y] = [rank[a.status] ?? 2, rank[b.status] ?? 2];
  if (x !== y) return x - y;
  if (x === 1) return byTurn(a, b);
  const [s, t] = x === 0 ? [a.id, b.id] : [a.endedAt ?? a.id, b.endedAt ?? b.id];
  return s < t ? 1 : s > t ? -1 : 0;
}

function counterCards(model, chosen, choose) {
  const numbers = new Map();
  const buttons = cards.map(([status, word]) => {
    const number = h('strong', { class: 'number', data: { counter: status } }, '…');
    numbers.set(status, number);
    return h(
      'button',
      {
        type: 'button',
        class: 'card counter',
        data: { status },
        'aria-pressed': 'false',
        onclick: () => choose(status),
      },
      h('span', { class: 'counter-name' }, h('span', { class: 'sign', 'aria-hidden': 'true' }, signOf(status)), word),
      number,
    );
  });
  const others = h('p', { class: 'others' });
  const element = h('section', { class: 'counters', 'aria-label': 'Counts' }, buttons);
  return {
    element,
    others,
    draw() {
      const { counts } = model.counters;
      for (const [status, number] of numbers) text(number, count(counts[status]));
      for (const button of buttons) attribute(button, 'aria-pressed', String(chosen() === button.dataset.status));
      text(
        others,
        rest
          .filter((word) => counts[word])
          .map((word) => `${count(counts[word])} ${word}`)
          .join(' · '),
      );
    },
  };
}

function stageBars(model, job, into) {
  const stages = model.stagesOf(job);
  while (into.children.length > stages.length) into.lastChild.remove();
  while (into.children.length < stages.length)
    into.append(h('span', { class: 'stage-bar' }, h('span', { class: 'fill' })));
  stages.forEach((stage, i) => {
    const part = into.children[i];
    attribute(part, 'data-status', stage.status);
    attribute(part, 'title', `${stage.id}: ${stage.status}`);
    const share = stage.status === 'running' ? (stage.pct ?? 0) : stage.status === 'waiting' ? 0 : 100;
    part.firstChild.style.width = `${share}%`;
  });
}

function row(model, id, positions) {
  const sign = h('span', { class: 'sign big', 'aria-hidden': 'true' });
  const link = h('a', { href: `#/jobs/${encodeURIComponent(id)}` });
  const under = h('span', { class: 'under' });
  const total = bar(0, 'progress');
  const stages = h('span', { class: 'stage-bars', 'aria-hidden': 'true' });
  const message = h('span', { class: 'under' });
  const state = h('span', { class: 'state' });
  const look = h('span', { class: 'under' });
  const pct = h('span', { class: 'pct' });
  const element = h(
    'div',
    { class: 'row', role: 'row', data: { id } },
    h('span', { role: 'cell', class: 'what' }, sign, h('span', { class: 'lines' }, link, under)),
    h('span', { role: 'cell', class: 'how' }, h('span', { class: 'track' }, total, pct), stages, message),
    h('span', { role: 'cell', class: 'when' }, state, look),
  );
  const update = (job) => {
    element.dataset.status = job.status;
    text(sign, signOf(job.status));
    text(link, job.title || job.id);
    text(
      under,
      [job.pipeline, job.asset, ago(job.endedAt ?? job.startedAt ?? job.queuedAt)].filter(Boolean).join(' · '),
    );
    setBar(total, job.pct, job.status);
    attribute(total, 'aria-label', `progress of ${job.title || job.id}`);
    text(pct, hasEnded(job.status) && job.status !== 'failed' ? '' : percent(job.pct));
    stageBars(model, job, stages);
    text(message, line(job));
    text(
      state,
      job.attempt > 1 && !hasEnded(job.status)
        ? `${job.status}, attempt ${job.attempt} of ${job.maxAttempts}`
        : job.status,
    );
    text(look, outlook(job, { position: positions().get(id) }));
  };
  return { element, update };
}

function line(job) {
  if (job.status === 'failed') return job.error?.message ?? 'failed';
  if (job.status === 'processing') return [job.stage, job.message].filter(Boolean).join(': ');
  return job.waitReason ?? '';
}

/** Rows in sight whose stages were never heard of are asked for, a few at a time. */
function hydrate(model) {
  const asked = new Set();
  let open = 0;
  return (ids) => {
    for (const id of ids) {
      const job = model.jobs.get(id);
      if (open >= 3 || !job || job.status !== 'processing' || asked.has(id) || Object.keys(job.stages).length) continue;
      asked.add(id);
      open++;
      model
        .detail(id)
        .catch(() => {})
        .finally(() => open--);
    }
  };
}

export function jobsView(model, query) {
  let status = query.get('status') ?? null;
  let painted = null;
  let positions = new Map();
  const choose = (word) => {
    status = status === word ? null : word;
    order();
    counters.draw();
  };
  const counters = counterCards(model, () => status, choose);
  const charts = [queueChart(), throughputChart()];
  const search = h('input', {
    type: 'search',
    id: 'search',
    placeholder: 'Title, id, asset, pipeline …',
    autocomplete: 'off',
    oninput: () => order(),
  });
  const found = h('p', { class: 'found', role: 'status' });
  const list = new WindowedList({
    label: 'Jobs',
    columns: ['Job', 'Progress', 'State'],
    height: rowHeight,
    make: (id) => row(model, id, () => positions),
    get: (id) => model.jobs.get(id),
    seen: hydrate(model),
  });
  const olderButton = h(
    'button',
    { type: 'button', class: 'quiet', hidden: true, onclick: () => model.more(model.jobs.size + 10000) },
    'Load older jobs',
  );
  const empty = h('p', { class: 'empty', hidden: true });
  const element = h(
    'div',
    { class: 'page' },
    h('h1', { class: 'sr' }, 'Jobs'),
    counters.element,
    counters.others,
    h(
      'section',
      { class: 'charts', 'aria-label': 'Last hour' },
      charts.map((chart) => chart.element),
    ),
    h(
      'section',
      { 'aria-label': 'All jobs' },
      h('div', { class: 'tools' }, h('label', { class: 'search', for: 'search' }, 'Search'), search, found),
      list.element,
      empty,
      olderButton,
    ),
  );

  const order = () => {
    positions = model.positions();
    const jobs = ordered(model.jobs.values(), { status, words: search.value });
    list.show(jobs.map((job) => job.id));
    if (jobs.length && !painted) painted = performance.mark('stagemill-rows');
    text(found, `${count(jobs.length)} ${jobs.length === 1 ? 'job' : 'jobs'}${status ? `, ${status}` : ''}`);
    empty.hidden = jobs.length > 0;
    text(
      empty,
      model.jobs.size ? 'No job matches.' : model.loaded ? 'No jobs yet. Submit the first one.' : 'Loading …',
    );
    olderButton.hidden = !(model.loaded && model.older);
  };
  const reorder = throttle(250, order);
  const redrawCharts = throttle(2000, () =>
    charts.forEach((chart) => chart.draw([...model.jobs.values()], model.counters.counts)),
  );
  const draw = eachFrame(() => {
    counters.draw();
    list.draw();
  });
  const stop = model.watch((what) => {
    if (what.order) {
      reorder();
      redrawCharts();
    }
    if (what.jobs || what.counts) draw();
  });
  const timer = setInterval(() => list.tick(), 1000);
  const chartTimer = setInterval(redrawCharts, 15000);
  const shown = () => {
    order();
    counters.draw();
    redrawCharts();
  };
  return {
    element,
    title: 'Jobs',
    shown,
    destroy() {
      stop();
      list.destroy();
      clearInterval(timer);
      clearInterval(chartTimer);
    },
  };
}
