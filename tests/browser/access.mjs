// access.mjs - no page breaks an accessibility rule, light or dark; none is wider than a telephone.
import assert from 'node:assert/strict';
import { Mock } from '../web/mock.mjs';
import { open, say, violations } from './browser.mjs';

const mock = new Mock({ jobs: 400, running: 12 });
mock.jobs.get([...mock.jobs.keys()].at(-20)).status = 'retrying';
const { server, sockets, url } = await mock.serve();
const of = (status) => [...mock.jobs.values()].find((job) => job.status === status).id;
const pages = [
  '#/',
  `#/jobs/${of('processing')}`,
  `#/jobs/${of('failed')}`,
  `#/jobs/${of('queued')}`,
  '#/submit',
  '#/failed',
];
const found = [];
const { browser, page, faults } = await open();

/** Every rule in both looks, and nothing wider than a telephone. */
async function check(name) {
  for (const theme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: theme });
    for (const one of await violations(page)) found.push(`${theme} ${name}: ${one}`);
  }
  await page.setViewportSize({ width: 390, height: 900 });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (wide > 0) found.push(`${name}: ${wide} pixels wider than the window`);
  await page.setViewportSize({ width: 1360, height: 900 });
}

await page.goto(url);
await page.waitForSelector('.sign-in');
await check('sign in');
await page.fill('#token', 'mock');
await page.click('.sign-in button');
await page.waitForSelector('.rows > .row');
for (const address of pages) {
  await page.evaluate((to) => {
    location.hash = to;
  }, address);
  await page.waitForTimeout(350);
  await check(address);
}
await page.click('tbody button:has-text("Edit and requeue")');
await page.waitForSelector('dialog[open]');
await check('edit and requeue');
found.push(...faults);
await page.keyboard.press('Escape');

// The switch is stronger than the system's choice.
await page.emulateMedia({ colorScheme: 'light' });
await page.goto(`${url}/?token=mock`);
const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const light = await ground();
await page.selectOption('#theme', 'dark');
assert.notEqual(await ground(), light);
await page.reload();
assert.notEqual(await ground(), light);
assert.equal(await page.evaluate(() => location.search), ''); // the token has left the address
await browser.close();
for (const client of sockets.clients) client.terminate();
server.closeAllConnections();
server.close();
assert.deepEqual(found, []);
say({ pages: pages.length + 2, looks: 2, violations: 0 });
