// dom.js - elements in one expression. Text is always text: nothing here ever parses markup.
const svgSpace = 'http://www.w3.org/2000/svg';

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'style') Object.assign(element.style, value);
    else if (name === 'data') Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
export const s = (tag, props, ...children) => fill(document.createElementNS(svgSpace, tag), props, children);

/** Sets text only when it differs: an unchanged node costs no layout. */
export function text(element, value) {
  const next = value ?? '';
  if (element.textContent !== String(next)) element.textContent = next;
}

export function attribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** One drawing a frame, however often it is asked for. A hidden page draws when it is looked at again. */
export function eachFrame(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}

/** At most once in `ms`, the last request included. */
export function throttle(ms, act) {
  let timer = null;
  let last = -Infinity;
  return () => {
    if (timer) return;
    const wait = Math.max(0, last + ms - performance.now());
    timer = setTimeout(() => {
      timer = null;
      last = performance.now();
      act();
    }, wait);
  };
}

export function toast(message, kind = 'info') {
  const box = h('p', { class: 'toast', data: { kind } }, message);
  document.getElementById('toasts').append(box);
  setTimeout(() => box.remove(), kind === 'error' ? 9000 : 4000);
}

/** Runs what a button asks for, the button disabled meanwhile; what went wrong is said in the daemon's own words. */
export async function busy(button, act) {
  button.disabled = true;
  try {
    return await act();
  } catch (error) {
    toast(error.message, 'error');
    return undefined;
  } finally {
    button.disabled = false;
  }
}
