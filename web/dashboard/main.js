// main.js - signs in, keeps the frame around the pages, and goes from one to the other by the address's fragment.
import { dropToken, keepToken, token, tokenFromAddress } from './auth.js';
import { eachFrame, h, text } from './dom.js';
import { span } from './format.js';
import { Model } from './model.js';
import { jobsView } from './view-jobs.js';

const main = document.getElementById('main');
const routes = [
  [/^#?\/?$/, 'jobs', async () => jobsView],
  [/^#\/jobs\/([^/]+)$/, 'jobs', async () => (await import('./view-job.js')).jobView],
  [/^#\/submit$/, 'submit', async () => (await import('./view-submit.js')).submitView],
  [/^#\/failed$/, 'failed', async () => (await import('./view-failed.js')).failedView],
];
let model = null;
let view = null;
let turn = 0;

async function go({ focus = true } = {}) {
  const [path, query] = location.hash.split('?');
  const found = routes
    .map(([pattern, page, load]) => ({ match: path.match(pattern), page, load }))
    .find(({ match }) => match);
  if (!found) return void (location.hash = '#/');
  const mine = ++turn;
  const make = await found.load();
  if (mine !== turn) return;
  view?.destroy?.();
  view = make(model, new URLSearchParams(query), ...found.match.slice(1).map(decodeURIComponent));
  document.title = `${view.title} · stagemill`;
  for (const link of document.querySelectorAll('nav a')) {
    if (link.dataset.page === found.page) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  main.replaceChildren(view.element);
  scrollTo(0, 0);
  if (focus) main.focus({ preventScroll: true });
  view.shown?.();
}

// ---- the frame -------------------------------------------------------------------------------------------------------

function showConnection() {
  const { connection, inMs } = model.connection;
  const box = document.getElementById('connection');
  const banner = document.getElementById('banner');
  box.dataset.connection = connection;
  text(
    box.firstElementChild,
    { connected: 'live', connecting: 'connecting', disconnected: 'disconnected' }[connection],
  );
  if (connection === 'connected') {
    banner.hidden = true;
    banner.replaceChildren();
  } else if (connection === 'disconnected' && banner.hidden) {
    const when = inMs ? ` It is tried again in ${span(Math.ceil(inMs / 1000))} and until it works.` : '';
    banner.replaceChildren(
      `The daemon does not answer.${when} `,
      h('button', { type: 'button', onclick: () => model.reconnect() }, 'Try now'),
    );
    banner.hidden = false;
  }
  if (model.connection.code === 4001 || model.connection.code === 4003)
    signIn('The token has expired or was withdrawn.');
}

function showFailed() {
  const { failed } = model.counters.counts;
  const badge = document.getElementById('failed-count');
  badge.hidden = !failed;
  text(badge, failed > 999 ? '999+' : failed);
}

function signIn(why = '') {
  model?.close();
  view?.destroy?.();
  view = null;
  const field = h('input', {
    id: 'token',
    type: 'password',
    autocomplete: 'off',
    spellcheck: 'false',
    required: true,
    'aria-describedby': 'token-help',
  });
  const form = h(
    'form',
    {
      class: 'card sign-in',
      onsubmit: (event) => {
        event.preventDefault();
        keepToken(field.value.trim());
        begin();
      },
    },
    h('h1', null, 'Sign in'),
    why ? h('p', { class: 'problem', role: 'alert' }, why) : null,
    h('label', { for: 'token' }, 'Token'),
    field,
    h(
      'p',
      { id: 'token-help', class: 'help' },
      'An operator makes one with ',
      h('code', null, 'stagemill token --state DIR --sub NAME'),
      '. It stays in this tab.',
    ),
    h('button', { class: 'primary' }, 'Sign in'),
  );
  document.getElementById('sign-out').hidden = true;
  main.replaceChildren(form);
  field.focus();
}

async function begin() {
  if (!token()) return signIn();
  model = new Model(token());
  const draw = eachFrame(showFailed);
  model.watch((what) => {
    if (what.connection) showConnection();
    if (what.counts) draw();
  });
  const mine = model;
  go({ focus: false });
  try {
    await model.start();
    document.getElementById('sign-out').hidden = false;
  } catch (error) {
    if (mine !== model) return;
    if (error.httpStatus === 401 || error.httpStatus === 403) {
      dropToken();
      return signIn(error.message);
    }
    model.connection = { connection: 'disconnected' };
    showConnection();
    setTimeout(() => mine === model && begin(), 3000);
  }
}

const theme = document.getElementById('theme');
theme.value = document.documentElement.dataset.theme;
theme.addEventListener('change', () => {
  document.documentElement.dataset.theme = theme.value;
  localStorage.setItem('stagemill-theme', theme.value);
});
document.getElementById('sign-out').addEventListener('click', () => {
  dropToken();
  signIn();
});
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener('hashchange', () => model && token() && go());
tokenFromAddress();
begin();
