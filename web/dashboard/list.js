// list.js - a list of any length of which only what can be seen is in the document. Rows are kept by id while they are in
// sight, so that focus and pressed buttons survive updates; each is redrawn only when its job is another object.
import { h } from './dom.js';

const over = 6; // rows kept above and below the window

export class WindowedList {
  #make;
  #rows = new Map(); // id -> {element, update, item}
  #ids = [];
  #height;
  #body;
  element;

  /** make(id) answers {element, update(item, index)}; get(id) the item; rows are `height` pixels high. */
  constructor({ label, columns, height, make, get, seen }) {
    this.#make = make;
    this.#height = height;
    this.get = get;
    this.seen = seen;
    this.#body = h('div', { class: 'rows', role: 'rowgroup' });
    const head = h(
      'div',
      { role: 'rowgroup' },
      h(
        'div',
        { class: 'row head', role: 'row' },
        columns.map((word) => h('span', { role: 'columnheader' }, word)),
      ),
    );
    this.element = h('div', { class: 'list', role: 'table', 'aria-label': label }, head, this.#body);
    this.onScroll = () => requestAnimationFrame(() => this.draw());
    addEventListener('scroll', this.onScroll, { passive: true });
    addEventListener('resize', this.onScroll, { passive: true });
    this.element.addEventListener('keydown', (event) => this.#key(event));
  }

  destroy() {
    removeEventListener('scroll', this.onScroll);
    removeEventListener('resize', this.onScroll);
  }

  show(ids) {
    this.#ids = ids;
    this.#body.style.height = `${ids.length * this.#height}px`;
    this.element.setAttribute('aria-rowcount', ids.length + 1);
    this.draw();
  }

  #range() {
    const top = -this.#body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / this.#height) - over);
    const last = Math.min(this.#ids.length, Math.ceil((top + innerHeight) / this.#height) + over);
    return [first, Math.max(first, last)];
  }

  /** Brings what is in sight up to date. */
  draw() {
    if (!this.#body.isConnected) return;
    const [first, last] = this.#range();
    const keep = new Set();
    for (let i = first; i < last; i++) {
      const id = this.#ids[i];
      keep.add(id);
      this.#place(id, i);
    }
    const focused = document.activeElement;
    for (const [id, row] of this.#rows) {
      if (keep.has(id)) continue;
      if (row.element.contains(focused)) continue; // it goes when the focus does
      row.element.remove();
      this.#rows.delete(id);
    }
    this.seen?.([...keep]);
  }

  #place(id, index) {
    let row = this.#rows.get(id);
    if (!row) {
      row = { ...this.#make(id), item: null, index: -1 };
      this.#rows.set(id, row);
    }
    if (row.index !== index) {
      row.index = index;
      row.element.style.transform = `translateY(${index * this.#height}px)`;
      row.element.setAttribute('aria-rowindex', index + 2);
      this.#insert(row, index);
    }
    const item = this.get(id);
    if (item && row.item !== item) {
      row.item = item;
      row.update(item);
    }
  }

  /** Rows stand in the document in their order, so that Tab goes down the page. */
  #insert(row, index) {
    for (const other of this.#body.children) {
      if (other === row.element) continue;
      if (Number(other.getAttribute('aria-rowindex')) > index + 2) {
        if (row.element.nextSibling !== other) this.#body.insertBefore(row.element, other);
        return;
      }
    }
    if (this.#body.lastChild !== row.element) this.#body.append(row.element);
  }

  /** Times that pass without an event: "3 min ago". */
  tick() {
    for (const row of this.#rows.values()) if (row.item) row.update(row.item);
  }

  #key(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step === undefined || event.target.closest('select,input,textarea')) return;
    const row = event.target.closest('[data-id]');
    if (!row) return;
    event.preventDefault();
    const at = this.#ids.indexOf(row.dataset.id);
    this.focus(Math.max(0, Math.min(this.#ids.length - 1, at + step)));
  }

  focus(index) {
    const id = this.#ids[index];
    if (id === undefined) return;
    const top = this.#body.getBoundingClientRect().top + index * this.#height;
    const head = 140;
    if (top < head) scrollBy(0, top - head);
    else if (top + this.#height > innerHeight) scrollBy(0, top + this.#height - innerHeight + 8);
    this.draw();
    this.#rows.get(id)?.element.querySelector('a')?.focus({ preventScroll: true });
    this.draw();
  }
}
