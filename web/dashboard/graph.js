// graph.js - the stages of a job as a picture: what needs what, how far each is.
import { s } from './dom.js';
import { took } from './format.js';
import { signOf } from './status.js';

const box = { width: 176, height: 62, gapX: 46, gapY: 18 };

/** Columns by the longest way from a stage without needs. */
export function layers(stages) {
  const known = new Map(stages.map((stage) => [stage.id, stage]));
  const depth = new Map();
  const deep = (id, path = new Set()) => {
    if (depth.has(id)) return depth.get(id);
    if (path.has(id)) return 0; // a circle cannot be; it must not hang the page either
    path.add(id);
    const needs = (known.get(id).needs ?? []).filter((need) => known.has(need));
    const value = needs.length ? 1 + Math.max(...needs.map((need) => deep(need, path))) : 0;
    depth.set(id, value);
    return value;
  };
  const columns = [];
  for (const stage of stages) (columns[deep(stage.id)] ??= []).push(stage);
  for (const stage of stages) {
    for (const need of stage.needs ?? []) {
      // A line over several columns gets a lane of its own in each, so that it passes no stage it has nothing to do with.
      for (let at = (depth.get(need) ?? Infinity) + 1; at < depth.get(stage.id); at++)
        columns[at].push({ lane: true, from: need, to: stage.id, id: laneOf(need, stage.id, at) });
    }
  }
  return untangled(columns);
}

/** Each column in the order of what its items come from, so that few lines cross. */
function untangled(columns) {
  for (let at = 1; at < columns.length; at++) {
    const before = new Map(columns[at - 1].map((item, i) => [item.id, i]));
    const weight = (item) => {
      const sources = item.lane ? [item.from] : (item.needs ?? []);
      const places = sources
        .map((from) => before.get(from) ?? before.get(laneOf(from, item.to ?? item.id, at - 1)))
        .filter((place) => place !== undefined);
      return places.length ? places.reduce((a, b) => a + b) / places.length : Infinity;
    };
    const order = new Map(columns[at].map((item, i) => [item, [weight(item), i]]));
    columns[at].sort((a, b) => order.get(a)[0] - order.get(b)[0] || order.get(a)[1] - order.get(b)[1]);
  }
  return columns;
}

const laneOf = (from, to, at) => `${from}\n${to}\n${at}`;
const heightOf = (item) => (item.lane ? 10 : box.height);
const columnHeight = (column) => column.reduce((sum, item) => sum + heightOf(item) + box.gapY, -box.gapY);

/** The middles of both sides of what a line touches, from one stage to the next. */
function edge(places, need, stage, columns) {
  const from = columns.findIndex((column) => column.some((item) => item.id === need));
  const to = columns.findIndex((column) => column.some((item) => item.id === stage));
  const stops = [places.get(need)];
  for (let at = from + 1; at < to; at++) stops.push(places.get(laneOf(need, stage, at)));
  stops.push(places.get(stage));
  let d = '';
  stops.forEach(([x, y, high], i) => {
    const middle = y + high / 2;
    if (i === 0) d = `M${x + box.width},${middle}`;
    else {
      const [px, py, ph] = stops[i - 1];
      const bend = box.gapX / 2;
      d += `C${px + box.width + bend},${py + ph / 2} ${x - bend},${middle} ${x},${middle}`;
      if (i < stops.length - 1) d += `H${x + box.width}`;
    }
  });
  return s('path', { class: 'edge', d });
}

const short = (word, most) => (word.length > most ? `${word.slice(0, most - 1)}…` : word);

function share(stage) {
  if (stage.status === 'running') return (stage.pct ?? 0) / 100;
  return stage.status === 'waiting' || stage.status === 'skipped' || stage.status === 'delayed' ? 0 : 1;
}

function node(stage, x, y) {
  const wide = box.width - 24;
  const time = stage.startedAt
    ? took((stage.endedAt ? Date.parse(stage.endedAt) : Date.now()) - Date.parse(stage.startedAt))
    : '';
  return s(
    'g',
    { class: 'node', 'data-status': stage.status, 'data-stage': stage.id, transform: `translate(${x},${y})` },
    s('title', {}, `${stage.id} (${stage.uses ?? ''}): ${stage.status}`),
    s('rect', { class: 'box', width: box.width, height: box.height, rx: 10 }),
    s('text', { class: 'mark', x: 12, y: 23 }, signOf(stage.status)),
    s('text', { x: 30, y: 23 }, short(stage.id, 18)),
    s(
      'text',
      { class: 'sub', x: 12, y: 41 },
      short([stage.uses, stage.status === 'waiting' ? '' : time].filter(Boolean).join(' · '), 26),
    ),
    s('rect', { class: 'under-fill', x: 12, y: 50, width: wide, height: 4, rx: 2 }),
    s('rect', { class: 'fill', x: 12, y: 50, width: wide * share(stage), height: 4, rx: 2 }),
  );
}

export function drawGraph(stages) {
  const columns = layers(stages);
  const high = Math.max(box.height, ...columns.map(columnHeight)) + 4;
  const wide = Math.max(1, columns.length) * (box.width + box.gapX) - box.gapX + 4;
  const places = new Map();
  columns.forEach((column, i) => {
    let y = 2 + (high - 4 - columnHeight(column)) / 2;
    for (const item of column) {
      places.set(item.id, [2 + i * (box.width + box.gapX), y, heightOf(item)]);
      y += heightOf(item) + box.gapY;
    }
  });
  const edges = [];
  for (const stage of stages)
    for (const need of stage.needs ?? []) if (places.has(need)) edges.push(edge(places, need, stage.id, columns));
  const words = stages
    .map((stage) => `${stage.id} ${stage.status}${stage.needs?.length ? ` after ${stage.needs.join(' and ')}` : ''}`)
    .join('; ');
  return s(
    'svg',
    {
      class: 'graph',
      role: 'img',
      'aria-label': `Stages: ${words}`,
      width: wide,
      height: high,
      viewBox: `0 0 ${wide} ${high}`,
    },
    edges,
    stages.map((stage) => node(stage, ...places.get(stage.id).slice(0, 2))),
  );
}
