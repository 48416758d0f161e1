// journey.mjs - a clip dropped into the dashboard of a real daemon, followed, its poster seen, its stream played to the end; the
// daemon is killed and started again in the middle. Whoever runs this answers {"do":"restart"} on stdout with a line on stdin.
//
//   node journey.mjs URL TOKEN CLIP PIPELINE
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { counters, open, say, until } from './browser.mjs';

const [url, token, clip, pipeline] = process.argv.slice(2);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { browser, page, faults } = await open();
const api = (path) =>
  fetch(url + path, { headers: { Authorization: `Bearer ${token}` } }).then((answer) => answer.json());
const overall = () => page.getAttribute('.job-head .overall [role=progressbar]', 'aria-valuenow').then(Number);

try {
  await page.goto(`${url}/?token=${token}`);
  await page.waitForSelector('[data-connection=connected]');
  await page.click('nav >> text=Submit');
  await page.selectOption('#pipeline', pipeline);
  const data = readFileSync(clip).toString('base64');
  const transfer = await page.evaluateHandle((bytes) => {
    const dropped = new DataTransfer();
    dropped.items.add(
      new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], 'holiday clip.mp4', { type: 'video/mp4' }),
    );
    return dropped;
  }, data);
  await page.dispatchEvent('#drop', 'drop', { dataTransfer: transfer });
  await page.waitForSelector('#drop :text("holiday clip.mp4")');
  await page.click('#send');
  await page.waitForURL(/#\/jobs\/.+/);
  const id = decodeURIComponent(new URL(page.url()).hash.slice('#/jobs/'.length));

  const seen = new Set();
  const watch = async () => seen.add(await overall()) && Math.max(...seen);
  await until('the bar moves', async () => (await watch()) >= 15, 40);
  const before = Math.max(...seen);
  say({ do: 'restart' });
  await page.waitForSelector('[data-connection=disconnected], [data-connection=connecting]');
  await answers.next();
  await page.waitForSelector('[data-connection=connected]', { timeout: 15000 });
  assert.ok(await page.isHidden('#banner'));
  await until('the job completes', async () => (await watch(), page.$('.title-line [data-status=completed]')), 60);
  assert.ok(seen.size >= 5, `the bar was seen at ${[...seen]}`);

  const poster = page.locator('#pictures img').first();
  await poster.scrollIntoViewIfNeeded();
  await until('the poster is drawn', () => poster.evaluate((image) => image.complete && image.naturalWidth > 0));
  await page.waitForSelector('#media video');
  const played = await page.$eval(
    '#media video',
    (video) =>
      new Promise((resolve, reject) => {
        const end = (how) => resolve({ how, at: video.currentTime, duration: video.duration, width: video.videoWidth });
        video.onended = () => end('ended');
        video.onerror = () => reject(new Error(video.error.message));
        setTimeout(() => end('time-out'), 25000);
        video.muted = true;
        video.playbackRate = 3;
        video.play().catch(reject);
      }),
  );
  assert.equal(played.how, 'ended', JSON.stringify(played));
  assert.ok(played.width > 0 && played.duration > 7 && played.at > played.duration - 0.5, JSON.stringify(played));

  // Nothing was missed: the page lists every event of the job, once and in order, as the daemon stored them.
  const stored = (await api(`/api/v1/jobs/${id}/events?since=0`)).events.map((event) => event.seq);
  const listed = await page.$$eval('.events li', (all) => all.map((line) => Number(line.dataset.seq)));
  assert.deepEqual(listed, stored);
  assert.deepEqual(
    stored,
    Array.from({ length: stored.length }, (_, i) => i + 1),
  );

  if (process.env.KEEP) await page.screenshot({ path: process.env.KEEP, fullPage: true });
  await page.click('nav >> text=Jobs');
  const stats = await api('/api/v1/stats');
  await until(
    'the counts equal /stats',
    async () => {
      const shown = await counters(page);
      return (
        shown.queued === stats.waiting &&
        shown.processing === stats.processing &&
        shown.completed === stats.done &&
        shown.failed === stats.failed
      );
    },
    5,
  );
  assert.deepEqual(faults, []);
  say({ job: id, barValues: seen.size, before, events: stored.length, played });
} catch (error) {
  await page.screenshot({ path: process.env.SCREENSHOT ?? 'journey.png' }).catch(() => {});
  throw error;
} finally {
  await browser.close();
  process.stdin.destroy();
}
