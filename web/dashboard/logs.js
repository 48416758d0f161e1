// logs.js - the log of an attempt, its end first and then as it grows; the page keeps a bounded piece of it.
import { h } from './dom.js';

const keep = 256 * 1024; // characters

export function logView(api) {
  const out = h('pre', { class: 'log', role: 'log', tabindex: '0', 'aria-label': 'Log', hidden: true });
  let reading = null;

  async function open(log, live) {
    reading?.abort();
    const mine = (reading = new AbortController());
    out.hidden = false;
    out.textContent = '';
    const url = new URL(log.href, location.origin);
    if (log.bytes > keep) {
      url.searchParams.set('from', log.bytes - keep);
      out.textContent = '… (the beginning is left out)\n';
    }
    if (live) url.searchParams.set('follow', 'true');
    try {
      const answer = await api.fetch('GET', url.pathname + url.search, {
        headers: { Accept: 'text/plain' },
        signal: mine.signal,
      });
      await read(answer.body.pipeThrough(new TextDecoderStream()).getReader());
      if (!out.textContent) out.textContent = '(nothing was written)';
    } catch (error) {
      if (!mine.signal.aborted) out.append(`\n(${error.message})`);
    }
  }

  async function read(reader) {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const atEnd = out.scrollTop + out.clientHeight >= out.scrollHeight - 24;
      out.append(value);
      if (out.textContent.length > keep * 1.5) out.textContent = out.textContent.slice(-keep);
      if (atEnd) out.scrollTop = out.scrollHeight;
    }
  }

  return { element: out, open, close: () => reading?.abort() };
}
