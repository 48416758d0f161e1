// charts.js - two small charts of the last hour, drawn as SVG from the jobs' own times: nothing is asked of the daemon.
import { h, s } from './dom.js';

const minutes = 60;
const width = 600;
const height = 96;
const left = 30;

function frame(label) {
  const plot = s('g', {});
  const svg = s(
    'svg',
    { viewBox: `0 0 ${width} ${height + 18}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
    plot,
  );
  return { svg, plot };
}

function nice(most) {
  if (most <= 5) return 5;
  const unit = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((step) => step * unit).find((top) => top >= most);
}

const x = (bin) => left + (bin * (width - left)) / minutes;

function axes(top) {
  const lines = [0, 0.5, 1].map((share) => {
    const y = height - share * (height - 8);
    return s('line', { class: 'grid', x1: left, x2: width, y1: y, y2: y });
  });
  return lines;
}

function card(title, legend) {
  const { svg, plot } = frame(title);
  const scale = h('span', { class: 'scale' });
  const summary = h('p', { class: 'chart-now' });
  const keys = legend.map(([word, name]) => h('span', { class: 'key', data: { series: name } }, word));
  const element = h(
    'figure',
    { class: 'card chart' },
    h('figcaption', null, h('h2', null, title), h('span', { class: 'keys' }, keys)),
    h('div', { class: 'plot' }, scale, svg),
    h(
      'p',
      { class: 'ticks', 'aria-hidden': 'true' },
      h('span', null, '60 min ago'),
      h('span', null, '30'),
      h('span', null, 'now'),
    ),
    summary,
  );
  return { element, svg, plot, scale, summary };
}

function path(values, top) {
  const y = (value) => height - (Math.min(value, top) / top) * (height - 8);
  return values.map((value, i) => `${i ? 'L' : 'M'}${x(i).toFixed(1)},${y(value).toFixed(1)}`).join('');
}

/** Jobs waiting and running at each minute, from when each was queued, started, ended. */
export function queueSeries(jobs, now) {
  const waiting = new Array(minutes + 2).fill(0);
  const running = new Array(minutes + 2).fill(0);
  const bin = (time) => Math.max(0, Math.min(minutes + 1, Math.ceil(minutes - (now - time) / 60000)));
  const count = (series, from, to) => {
    if (!from) return;
    const first = bin(from);
    const last = to ? bin(to) : minutes + 1;
    if (last > first) {
      series[first]++;
      series[last]--;
    }
  };
  for (const job of jobs) {
    if (job.endedAt && now - Date.parse(job.endedAt) > minutes * 60000) continue;
    const queued = Date.parse(job.queuedAt);
    const started = job.startedAt ? Date.parse(job.startedAt) : null;
    const ended = job.endedAt ? Date.parse(job.endedAt) : null;
    count(waiting, queued, started ?? ended);
    count(running, started, ended);
  }
  for (const series of [waiting, running]) {
    for (let i = 1; i < series.length; i++) series[i] += series[i - 1];
    series.length = minutes + 1;
  }
  return { waiting, running };
}

/** Jobs that ended in each minute. */
export function throughputSeries(jobs, now) {
  const done = new Array(minutes).fill(0);
  const failed = new Array(minutes).fill(0);
  for (const job of jobs) {
    if (!job.endedAt || (job.status !== 'completed' && job.status !== 'failed')) continue;
    const at = minutes - 1 - Math.floor((now - Date.parse(job.endedAt)) / 60000);
    if (at >= 0 && at < minutes) (job.status === 'failed' ? failed : done)[at]++;
  }
  return { done, failed };
}

export function queueChart() {
  const chart = card('Queue', [
    ['waiting', 'waiting'],
    ['running', 'running'],
  ]);
  return {
    element: chart.element,
    draw(jobs, counts) {
      const { waiting, running } = queueSeries(jobs, Date.now());
      waiting[minutes] = counts.queued;
      running[minutes] = counts.processing;
      const top = nice(Math.max(...waiting, ...running));
      const area = `${path(waiting, top)}L${x(minutes)},${height}L${left},${height}Z`;
      chart.plot.replaceChildren(
        ...axes(top),
        s('path', { class: 'area waiting', d: area }),
        s('path', { class: 'line waiting', d: path(waiting, top) }),
        s('path', { class: 'line running', d: path(running, top) }),
      );
      chart.scale.textContent = top;
      chart.summary.textContent = `${counts.queued} waiting and ${counts.processing} running now`;
    },
  };
}

export function throughputChart() {
  const chart = card('Throughput', [
    ['completed', 'done'],
    ['failed', 'failed'],
  ]);
  return {
    element: chart.element,
    draw(jobs) {
      const { done, failed } = throughputSeries(jobs, Date.now());
      const top = nice(Math.max(...done.map((n, i) => n + failed[i])));
      const wide = (width - left) / minutes - 2;
      const bars = [];
      const column = (i, from, count, name) =>
        count &&
        bars.push(
          s('rect', {
            class: `column ${name}`,
            x: x(i) + 1,
            width: wide,
            rx: 1.5,
            y: height - ((from + count) / top) * (height - 8),
            height: (count / top) * (height - 8),
          }),
        );
      for (let i = 0; i < minutes; i++) {
        column(i, 0, done[i], 'done');
        column(i, done[i], failed[i], 'failed');
      }
      chart.plot.replaceChildren(...axes(top), ...bars);
      chart.scale.textContent = top;
      const sum = (series) => series.reduce((a, b) => a + b, 0);
      chart.summary.textContent = `${sum(done)} completed and ${sum(failed)} failed in the last hour`;
    },
  };
}
