// browser.mjs - Chromium for the tests: starts it, watches for faults of the page, checks accessibility.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const flags =
  '--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update ' +
  '--disable-sync --autoplay-policy=no-user-gesture-required --disable-dev-shm-usage';
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export async function open({ theme = 'light', width = 1360, height = 900 } = {}) {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  const browser = await chromium.launch({ executablePath, args: flags.split(' ') });
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, bypassCSP: true });
  const page = await context.newPage();
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.stack));
  page.on('console', (message) => {
    // A fallen connection is said by the browser itself.
    if (message.type() === 'error' && !/ERR_|WebSocket|status of 5/.test(message.text())) faults.push(`${message.text()} ${message.location().url}`);
  });
  return { browser, context, page, faults };
}

/** Violations of the accessibility rules, in words. */
export async function violations(page) {
  if (!(await page.evaluate(() => 'axe' in globalThis))) await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const rules = { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] };
    return (await globalThis.axe.run(document, rules)).violations;
  });
  return found.map(
    (one) =>
      `${one.id}: ${one.help}\n${one.nodes
        .slice(0, 4)
        .map((node) => `    ${node.target} ${node.failureSummary}`)
        .join('\n')}`,
  );
}

export async function until(what, condition, seconds = 15) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export const counters = (page) =>
  page.$$eval('[data-counter]', (all) =>
    Object.fromEntries(all.map((one) => [one.dataset.counter, Number(one.textContent.replaceAll(',', ''))])),
  );

/** Prints a line that says what was measured. */
export const say = (fields) => console.log(JSON.stringify(fields));
