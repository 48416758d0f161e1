// keyboard.mjs - from the sign-in to the playing video without a mouse, on a real daemon.
//
//   node keyboard.mjs URL TOKEN CLIP PIPELINE
import assert from 'node:assert/strict';
import { open, say, until } from './browser.mjs';

const [url, token, clip, pipeline] = process.argv.slice(2);
const { browser, page, faults } = await open();
let keys = 0;
const press = (key) => (keys++, page.keyboard.press(key));

/** Tab until the selector has the focus; it must be seen to have it. */
async function tabTo(selector, most = 60) {
  for (let i = 0; i < most; i++) {
    if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) {
      const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
      assert.ok(outline !== 'none' || selector.includes('video'), `${selector} shows no focus`);
      return;
    }
    await press('Tab');
  }
  throw new Error(`${selector} is not reached by Tab`);
}

try {
  await page.goto(url);
  await page.waitForSelector('#token');
  await page.keyboard.type(token); // the field has the focus
  await press('Enter');
  await page.waitForSelector('[data-connection=connected]');
  await tabTo('nav a[data-page=submit]');
  await press('Enter');
  await page.waitForSelector('#pipeline option', { state: 'attached' });
  await tabTo('#pipeline');
  await page.keyboard.type(pipeline);
  assert.equal(await page.inputValue('#pipeline'), pipeline);
  await tabTo('#choose');
  let dialog;
  for (let tries = 0; !dialog && tries < 4; tries++) {
    // A busy browser now and then opens none: whoever waits presses again.
    const opened = page.waitForEvent('filechooser', { timeout: 6000 }).catch(() => null);
    await press('Enter');
    dialog = await opened;
  }
  assert.ok(dialog, 'Enter on #choose opens the dialog');
  await dialog.setFiles(clip); // the system's own dialog
  await tabTo('#send');
  await press('Enter');
  await page.waitForURL(/#\/jobs\/.+/);
  await until('the job completes', () => page.$('.title-line [data-status=completed]'), 60);
  await page.waitForSelector('#media video');
  await tabTo('video');
  await press('Space');
  await until('the video plays', () => page.$eval('video', (video) => !video.paused && video.currentTime > 0.3));
  // And back: the list is walked with the arrows, a row opened with Enter.
  await page.evaluate(() => scrollTo(0, 0));
  await page.focus('.skip');
  await tabTo('nav a[data-page=jobs]');
  await press('Enter');
  await page.waitForSelector('.rows > .row');
  await tabTo('.rows a');
  await press('ArrowDown');
  await press('ArrowUp');
  await press('Enter');
  await page.waitForURL(/#\/jobs\/.+/);
  assert.deepEqual(faults, []);
  say({ keys });
} catch (error) {
  await page.screenshot({ path: process.env.SCREENSHOT ?? 'keyboard.png' }).catch(() => {});
  throw error;
} finally {
  await browser.close();
}
