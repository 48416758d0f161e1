// view-job.js - one job: how far it is and why, its stages, attempts, logs, events, and what it made.
import { emptyJob, hasEnded } from '../client/stagemill.js';
import { eachFrame, h, text, throttle } from './dom.js';
import { ago, between, bytes, clock, moment, outlook, percent, shown, took } from './format.js';
import { drawGraph } from './graph.js';
import { logView } from './logs.js';
import { drawResult, resultTable } from './result.js';
import { bar, pill, setBar } from './status.js';
import { decision, steering } from './steer.js';

const eventsMax = 2000;

function facts(job, detail) {
  const wait = job.startedAt ? between(job.queuedAt, job.startedAt) : null;
  const rows = [
    ['Pipeline', job.pipeline],
    ['Asset', job.asset],
    ['Owner', job.owner],
    ['Input', detail?.spec?.input && shown(detail.spec.input)],
    ['Queued', job.queuedAt && `${moment(job.queuedAt)} (${ago(job.queuedAt)})`],
    ['Waited', wait !== null && took(wait)],
    ['Attempt', job.maxAttempts && `${job.attempt} of ${job.maxAttempts}`],
    ['Round', job.round > 1 && job.round],
    ['Priority', job.priority],
    ['Id', job.id],
  ];
  return rows
    .filter(([, value]) => value !== null && value !== undefined && value !== false && value !== '')
    .map(([name, value]) =>
      h('div', null, h('dt', null, name), h('dd', { class: name === 'Id' ? 'mono' : undefined }, String(value))),
    );
}

function stageRows(stages, job) {
  const begin = Math.min(...stages.map((stage) => (stage.startedAt ? Date.parse(stage.startedAt) : Infinity)));
  const end = job.endedAt ? Date.parse(job.endedAt) : Date.now();
  const whole = Math.max(1, end - begin);
  return stages.map((stage) => {
    const from = stage.startedAt ? Date.parse(stage.startedAt) : null;
    const to = stage.endedAt ? Date.parse(stage.endedAt) : end;
    const lane =
      from === null
        ? null
        : h('span', {
            style: {
              left: `${(100 * (from - begin)) / whole}%`,
              width: `${Math.max(0.5, (100 * (to - from)) / whole)}%`,
            },
          });
    const why = stage.error
      ? (stage.error.message ?? stage.error)
      : stage.status === 'running'
        ? stage.message
        : stage.reason;
    const tries = stage.attempt ?? stage.attempts;
    return h(
      'tr',
      { data: { status: stage.status, stage: stage.id } },
      h('td', { class: 'tight' }, h('strong', null, stage.id), h('div', { class: 'help' }, stage.uses ?? '')),
      h(
        'td',
        { class: 'tight' },
        pill(stage.status),
        stage.status === 'running' && stage.pct ? ` ${percent(stage.pct)}` : '',
      ),
      h('td', { class: 'tight' }, tries ? String(tries) : ''),
      h('td', { class: 'tight' }, from === null || stage.status === 'skipped' ? '' : took(to - from)),
      h('td', null, h('div', { class: 'lane', data: { status: stage.status } }, lane)),
      h('td', null, why ?? ''),
    );
  });
}

function table(label, heads, rows) {
  return h(
    'div',
    { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': label },
    h(
      'table',
      { 'aria-label': label },
      h(
        'thead',
        null,
        h(
          'tr',
          null,
          heads.map((word) => h('th', { scope: 'col' }, word)),
        ),
      ),
      h('tbody', null, rows),
    ),
  );
}

function attemptRows(attempts, openLog) {
  return attempts.map((attempt) => {
    const stats = attempt.stats ?? {};
    const live = attempt.outcome === 'running';
    const log = attempt.log
      ? h(
          'button',
          { type: 'button', onclick: () => openLog(attempt.log, live) },
          live ? 'Follow' : 'Log',
          h('span', { class: 'sr' }, ` of attempt ${attempt.fence}`),
        )
      : '';
    return h(
      'tr',
      {
        data: {
          status: live ? 'running' : attempt.outcome === 'ok' || attempt.outcome === 'finished' ? 'finished' : 'failed',
        },
      },
      h('td', { class: 'tight' }, String(attempt.fence)),
      h('td', null, String(attempt.stages).replaceAll(',', ', ')),
      h('td', { class: 'tight' }, attempt.outcome ?? ''),
      h('td', { class: 'tight' }, took(between(attempt.startedAt, attempt.endedAt))),
      h('td', { class: 'tight' }, stats.cpuMs !== undefined ? took(stats.cpuMs) : ''),
      h('td', { class: 'tight' }, bytes(stats.maxRssBytes)),
      h('td', null, attempt.error?.message ?? ''),
      h('td', { class: 'tight' }, log),
    );
  });
}

function eventLine(event) {
  const words = {
    stage: () =>
      `${event.stage} ${event.status}${event.error ? `: ${event.error.message ?? event.error}` : ''}${event.reason ? ` (${event.reason})` : ''}`,
    retrying: () => `${event.stage ?? 'the job'} is tried again in ${took(event.delayMs)}: ${event.error}`,
    failed: () => `failed: ${event.error?.message ?? event.error ?? ''}`,
    state: () => `${event.status}${event.waitReason ? `: ${event.waitReason}` : ''}`,
    queued: () => `queued${event.reason ? `: ${event.reason}` : ''}`,
  };
  return h(
    'li',
    { data: { seq: event.seq, type: event.type } },
    h('span', { class: 'seq' }, String(event.seq)),
    h('time', { datetime: event.at }, clock(event.at)),
    h('span', null, words[event.type]?.() ?? event.type),
  );
}

/** Lifecycle events in order, each once, whether they came by the stream or by asking for the past. */
function timeline() {
  const list = h('ol', { class: 'events', tabindex: '0', 'aria-label': 'Events' });
  const seen = new Map();
  return {
    element: list,
    add(event) {
      if (!event.seq || ['progress', 'gap'].includes(event.type) || seen.has(event.seq)) return;
      const line = eventLine(event);
      seen.set(event.seq, line);
      const after = [...list.children].reverse().find((other) => Number(other.dataset.seq) < event.seq);
      const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 24;
      if (after) after.after(line);
      else list.prepend(line);
      while (list.children.length > eventsMax) list.firstChild.remove();
      if (atEnd) list.scrollTop = list.scrollHeight;
    },
  };
}

export function jobView(model, query, id) {
  const parts = {
    title: h('h1', null, id),
    pill: h('span', {}),
    overall: bar(0, 'overall progress'),
    pct: h('strong', null, ''),
    look: h('span', { class: 'help' }),
    message: h('p', { class: 'help' }),
    note: h('p', { class: 'note', hidden: true }),
    facts: h('dl', { class: 'facts' }),
    graph: h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Graph of the stages' }),
  };
  parts.overall.classList.add('large');
  const steer = steering(model, id);
  const decide = decision(model, id);
  const events = timeline();
  const log = logView(model.api);
  const boxes = Object.fromEntries(
    ['media', 'pictures', 'files', 'attempts', 'result'].map((name) => [
      name,
      h('section', { class: 'card', id: name, hidden: true }),
    ]),
  );
  const stageBox = h('section', { class: 'card', id: 'stages' });
  const logBox = h(
    'section',
    { class: 'card', id: 'logs' },
    h('h2', null, 'Log'),
    h('p', { class: 'help' }, 'Choose an attempt above.'),
    log.element,
  );
  const element = h(
    'div',
    { class: 'page' },
    h('p', null, h('a', { href: '#/' }, '← All jobs')),
    h(
      'section',
      { class: 'card job-head', 'aria-label': 'Job' },
      h('div', { class: 'title-line' }, parts.title, parts.pill, steer.element),
      h('div', { class: 'overall' }, parts.overall, parts.pct, parts.look),
      parts.message,
      parts.note,
      parts.facts,
    ),
    decide.element,
    boxes.media,
    h('section', { class: 'card', 'aria-label': 'Graph' }, h('h2', null, 'Stages'), parts.graph),
    stageBox,
    boxes.pictures,
    h(
      'div',
      { class: 'two' },
      h('section', { class: 'card', id: 'events' }, h('h2', null, 'Events'), events.element),
      h('div', { class: 'page' }, boxes.result, boxes.files),
    ),
    boxes.attempts,
    logBox,
  );

  let detail = null;
  let drawnStatus = null;
  let left = false;

  function stagesNow(job) {
    const known = detail?.stages ?? model.stagesOf(job);
    return known.map((stage) => ({ ...stage, ...job.stages[stage.id], needs: stage.needs ?? [], uses: stage.uses }));
  }

  const drawStages = throttle(300, () => {
    const job = model.jobs.get(id);
    if (!job) return;
    const stages = stagesNow(job);
    parts.graph.replaceChildren(drawGraph(stages));
    stageBox.replaceChildren(
      h('h2', null, 'Timings'),
      table('Timings of the stages', ['Stage', 'State', 'Attempts', 'Took', 'When', 'What'], stageRows(stages, job)),
    );
  });

  const draw = eachFrame(() => {
    const job = model.jobs.get(id);
    if (!job) return;
    text(parts.title, job.title || job.id);
    if (drawnStatus !== job.status) {
      drawnStatus = job.status;
      parts.pill.replaceChildren(pill(job.status));
      parts.pill.dataset.status = job.status;
      parts.facts.replaceChildren(...facts(job, detail));
    }
    setBar(parts.overall, job.pct, job.status);
    text(parts.pct, percent(job.pct));
    text(parts.look, outlook(job, { position: position(job) }));
    text(parts.message, job.status === 'processing' ? [job.stage, job.message].filter(Boolean).join(': ') : '');
    drawNote(job);
    steer.draw(job);
    decide.draw(job);
    drawStages();
  });

  /** Counted here when all jobs are known here, else what the daemon said last. */
  const position = (job) => (job.status === 'queued' ? (model.positions().get(id) ?? job.queuePosition) : undefined);

  function drawNote(job) {
    const said =
      job.status === 'failed'
        ? [job.error?.stage, job.error?.message].filter(Boolean).join(': ')
        : hasEnded(job.status)
          ? ''
          : job.waitReason;
    parts.note.hidden = !said;
    parts.note.dataset.status = job.status;
    text(parts.note, said ?? '');
    if (said && job.status === 'queued') explain();
  }

  let explained = false;
  async function explain() {
    if (explained) return;
    explained = true;
    const answer = await model.api.explain(id).catch(() => null);
    const more = [...(answer?.details ?? []).map(shown), answer?.nextStep].filter(Boolean).join('. ');
    if (more) parts.note.title = more;
  }

  const refresh = throttle(700, async () => {
    if (left) return;
    try {
      detail = await model.detail(id);
    } catch (error) {
      if (error.httpStatus === 404)
        element.replaceChildren(
          h('p', { class: 'empty' }, 'There is no such job, or it is not yours. ', h('a', { href: '#/' }, 'All jobs')),
        );
      return;
    }
    drawnStatus = null;
    const rows = attemptRows(detail.attempts, (which, live) => log.open(which, live));
    boxes.attempts.hidden = !rows.length;
    boxes.attempts.replaceChildren(
      h('h2', null, 'Attempts'),
      table('Attempts', ['No.', 'Stages', 'Outcome', 'Took', 'CPU', 'Memory', 'Error', 'Log'], rows),
    );
    const made = resultTable(detail.result);
    boxes.result.hidden = !made;
    if (made) boxes.result.replaceChildren(h('h2', null, 'Result'), made);
    draw();
    await drawResult(model.api, model.jobs.get(id), boxes).catch(() => {});
  });

  async function past() {
    let since = 0;
    for (let i = 0; i < 20; i++) {
      const answer = await model.api.events(id, { since });
      answer.events.forEach((event) => {
        events.add(event);
        decide.hear(event);
      });
      draw();
      const last = answer.events.at(-1)?.seq;
      if (!last || last <= since || last >= answer.lastSeq) return;
      since = last;
    }
  }

  const stops = [
    model.watch((what) => {
      if (what.jobs?.has(id)) draw();
      if (what.connection && model.connection.connection === 'connected') {
        refresh();
        past().catch(() => {});
      }
    }),
    model.watchJob(id, (event) => {
      events.add(event);
      if (event.type !== 'progress') refresh();
    }),
  ];
  const timer = setInterval(draw, 1000);
  const turnTimer = setInterval(() => model.jobs.get(id)?.status === 'queued' && refresh(), 5000);
  if (!model.jobs.has(id)) model.jobs.set(id, { ...emptyJob, id });
  past().catch(() => {});
  refresh();
  draw();
  return {
    element,
    title: 'Job',
    destroy() {
      left = true;
      stops.forEach((stop) => stop());
      clearInterval(timer);
      clearInterval(turnTimer);
      log.close();
    },
  };
}
