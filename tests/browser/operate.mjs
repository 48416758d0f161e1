// operate.mjs - an operator at work on a real daemon: a dead letter, edited and requeued; a decision with a value filled in; a
// log; a plan; a pause and a cancel. The counts come from events alone all the while.
//
//   node operate.mjs URL TOKEN
import assert from 'node:assert/strict';
import { counters, open, say, until } from './browser.mjs';

const [url, token] = process.argv.slice(2);
const { browser, page, faults } = await open();
const api = (path) =>
  fetch(url + path, { headers: { Authorization: `Bearer ${token}` } }).then((answer) => answer.json());
const is = (status) => page.waitForSelector(`.title-line .pill[data-status=${status}]`, { timeout: 15000 });
const idOf = () => decodeURIComponent(new URL(page.url()).hash.slice('#/jobs/'.length));
let asked = 0;
page.on('request', (request) => (asked += request.url().includes('/stats') ? 1 : 0));

async function submit(title, params = {}) {
  await page.click('nav >> text=Submit');
  await page.selectOption('#pipeline', 'steered');
  await page.waitForSelector('#choose', { state: 'hidden' }); // this pipeline reads no input
  await page.fill('#title', title);
  for (const [name, value] of Object.entries(params)) await page.fill(`#param-${name}`, value);
  await page.click('#send');
  await page.waitForURL(/#\/jobs\/.+/);
}

try {
  await page.goto(`${url}/?token=${token}`);
  await page.waitForSelector('[data-connection=connected]');
  await until('the list is loaded', () => page.$('.empty:has-text("Submit the first one")'));
  const begun = asked;

  await page.click('nav >> text=Submit');
  await page.selectOption('#pipeline', 'steered');
  await page.click('button:has-text("Show the plan")');
  await page.waitForSelector('pre.plan:has-text("review")');

  await submit('wanting');
  await is('failed');
  assert.match(await page.textContent('.job-head .note'), /shaky: the moon is in the wrong phase/);
  const first = idOf();

  await page.click('nav >> text=Failed');
  await page.click(`tr[data-id="${first}"] button`);
  await page.fill('dialog #requeue-failures', '0');
  await page.fill('dialog #requeue-wait', '700ms');
  await page.click('dialog button:has-text("Requeue")');
  await until('nothing is failed any more', () => page.isVisible('.empty'));

  await page.evaluate((id) => (location.hash = `#/jobs/${id}`), first);
  await is('held');
  await page.fill('#decision-note', 'good enough');
  await page.click('button:has-text("Release")');
  await is('completed');
  await page.waitForSelector('#result td:text-is("good enough")');
  await page.click('#attempts button');
  await page.waitForSelector('.log:not(:empty)');
  const stored = (await api(`/api/v1/jobs/${first}/events?since=0`)).events.map((event) => event.seq);
  const listed = () => page.$$eval('.events li', (all) => all.map((line) => Number(line.dataset.seq)));
  await until('all events are listed', async () => (await listed()).join() === stored.join());

  await submit('patient', { failures: '0' });
  await is('held');
  await page.click('.actions button:has-text("Cancel")');
  await is('cancelled');
  const deleted = idOf();
  page.once('dialog', (dialog) => dialog.accept());
  await page.click('.actions button:has-text("Delete")');
  await page.waitForSelector('.rows > .row');

  await page.fill('#search', 'wanting');
  await until('one row is left', async () => (await page.locator('.rows > .row').count()) === 1);
  const stats = await api('/api/v1/stats');
  assert.deepEqual(await counters(page), {
    queued: stats.waiting,
    processing: stats.processing,
    completed: stats.done,
    failed: stats.failed,
  });
  assert.equal(asked, begun, 'the counts were kept from events alone');
  // What the page asked a moment before of the job that was deleted is answered 404.
  assert.deepEqual(
    faults.filter((fault) => !fault.includes(deleted)),
    [],
  );
  say({ events: stored.length, counts: await counters(page) });
} catch (error) {
  await page.screenshot({ path: process.env.SCREENSHOT ?? 'operate.png' }).catch(() => {});
  throw error;
} finally {
  await browser.close();
}
