#include "base/metric.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum metric_kind { COUNTER = 1, GAUGE, HISTOGRAM };
enum { SLOTS = 512 }; /* twice the most children and more: probing stays short */

/* One combination of label values. Never freed, so that readers need no lock. */
struct child {
  char *values[METRIC_LABELS_MAX];
  _Atomic uint64_t value; /* bits of a double; of a histogram the sum */
  _Atomic uint64_t buckets[METRIC_BOUNDS_MAX + 1];
};

struct metric {
  struct metric *next;
  const char *name, *help;
  enum metric_kind kind;
  char *labels[METRIC_LABELS_MAX];
  size_t label_count, bound_count;
  double bounds[METRIC_BOUNDS_MAX];
  _Atomic(struct child *) slots[SLOTS];
  atomic_size_t child_count;
  _Atomic(struct child *) other; /* where combinations go that are too many */
};

const double metric_seconds[16] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,  0.5,
                                   1,     5,      15,    60,   300,   900,  3600, 21600};

/* Lock: guards making metrics. Whoever renders follows `next`, which is complete once it can be seen. */
static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct metric *) first;
static struct metric *last;

/* ---- making ---- */

static void split_labels(struct metric *m, const char *labels) {
  while (labels && *labels) {
    size_t size = strcspn(labels, ",");
    assert(m->label_count < METRIC_LABELS_MAX && size > 0);
    m->labels[m->label_count++] = mem_text_n(labels, size);
    labels += size + (labels[size] == ',');
  }
}

static struct metric *find(const char *name) {
  struct metric *m = atomic_load(&first);
  while (m && strcmp(m->name, name) != 0) m = m->next;
  return m;
}

static struct metric *make(const char *name, const char *help, const char *labels, enum metric_kind kind,
                           const double *bounds, size_t bound_count) {
  assert(bound_count <= METRIC_BOUNDS_MAX);
  pthread_mutex_lock(&making);
  struct metric *m = find(name);
  if (!m) {
    m = mem_alloc(sizeof(*m));
    m->name = mem_text(name);
    m->help = mem_text(help);
    m->kind = kind;
    split_labels(m, labels);
    for (size_t i = 0; i < bound_count; i++) m->bounds[m->bound_count++] = bounds[i];
    if (last)
      last->next = m;
    else
      atomic_store(&first, m);
    last = m;
  }
  pthread_mutex_unlock(&making);
  assert(m->kind == kind);
  return m;
}

struct metric *metric_counter(const char *name, const char *help, const char *labels) {
  return make(name, help, labels, COUNTER, NULL, 0);
}

struct metric *metric_gauge(const char *name, const char *help, const char *labels) {
  return make(name, help, labels, GAUGE, NULL, 0);
}

struct metric *metric_histogram(const char *name, const char *help, const char *labels, const double *bounds,
                                size_t bound_count) {
  if (!bounds) bounds = metric_seconds, bound_count = sizeof(metric_seconds) / sizeof(metric_seconds[0]);
  return make(name, help, labels, HISTOGRAM, bounds, bound_count);
}

/* ---- moving ---- */

static size_t shown_size(const char *value) {
  size_t size = strlen(value);
  if (size <= METRIC_VALUE_MAX) return size;
  size = METRIC_VALUE_MAX;
  while (size > 0 && ((unsigned char)value[size] & 0xc0) == 0x80) size--; /* whole letters */
  return size;
}

static const char *value_at(const char *const *values, size_t count, size_t i) {
  return i < count && values[i] ? values[i] : "";
}

static size_t hash(const struct metric *m, const char *const *values, size_t count) {
  uint64_t h = 1469598103934665603u; /* FNV-1a */
  for (size_t i = 0; i < m->label_count; i++) {
    const char *value = value_at(values, count, i);
    size_t size = shown_size(value);
    for (size_t k = 0; k <= size; k++) h = (h ^ (k < size ? (unsigned char)value[k] : 0u)) * 1099511628211u;
  }
  return (size_t)(h % SLOTS);
}

static bool is_child(const struct metric *m, const struct child *c, const char *const *values, size_t count) {
  for (size_t i = 0; i < m->label_count; i++) {
    const char *value = value_at(values, count, i);
    size_t size = shown_size(value);
    if (strlen(c->values[i]) != size || memcmp(c->values[i], value, size) != 0) return false;
  }
  return true;
}

static struct child *child_new(const struct metric *m, const char *const *values, size_t count) {
  struct child *c = mem_alloc(sizeof(*c));
  for (size_t i = 0; i < m->label_count; i++) {
    const char *value = values ? value_at(values, count, i) : "other";
    c->values[i] = mem_text_n(value, shown_size(value));
  }
  return c;
}

static void child_free(struct child *c) {
  for (size_t i = 0; i < METRIC_LABELS_MAX; i++) free(c->values[i]);
  free(c);
}

static struct child *other_child(struct metric *m) {
  struct child *there = atomic_load(&m->other);
  if (there) return there;
  struct child *made = child_new(m, NULL, 0);
  if (atomic_compare_exchange_strong(&m->other, &there, made)) return made;
  child_free(made);
  return there;
}

/* Open addressing; slots are only ever filled. Where two threads want the same slot, the loser looks again. */
static struct child *child_of(struct metric *m, const char *const *values, size_t count, bool insert) {
  size_t at = hash(m, values, count);
  struct child *made = NULL;
  for (;;) {
    struct child *there = atomic_load_explicit(&m->slots[at], memory_order_acquire);
    if (!there && !insert) return NULL;
    if (!there && !made) {
      if (atomic_fetch_add(&m->child_count, 1) >= METRIC_CHILDREN_MAX) {
        atomic_fetch_sub(&m->child_count, 1);
        return other_child(m);
      }
      made = child_new(m, values, count);
    }
    if (!there && atomic_compare_exchange_strong(&m->slots[at], &there, made)) return made;
    if (is_child(m, there, values, count)) {
      if (made) atomic_fetch_sub(&m->child_count, 1), child_free(made);
      return there;
    }
    at = (at + 1) % SLOTS;
  }
}

static double double_of(uint64_t bits) {
  double n;
  memcpy(&n, &bits, sizeof(n));
  return n;
}

static uint64_t bits_of(double n) {
  uint64_t bits;
  memcpy(&bits, &n, sizeof(bits));
  return bits;
}

static void raise_by(_Atomic uint64_t *value, double amount) {
  uint64_t old = atomic_load_explicit(value, memory_order_relaxed);
  while (!atomic_compare_exchange_weak(value, &old, bits_of(double_of(old) + amount))) continue;
}

void metric_add_to(struct metric *m, double amount, const char *const *values, size_t count) {
  if (m->kind == COUNTER && !(amount >= 0)) return;
  raise_by(&child_of(m, values, count, true)->value, amount);
}

void metric_set_to(struct metric *m, double value, const char *const *values, size_t count) {
  atomic_store(&child_of(m, values, count, true)->value, bits_of(value));
}

void metric_observe_in(struct metric *m, double value, const char *const *values, size_t count) {
  struct child *c = child_of(m, values, count, true);
  size_t bucket = 0;
  while (bucket < m->bound_count && value > m->bounds[bucket]) bucket++;
  atomic_fetch_add_explicit(&c->buckets[bucket], 1, memory_order_relaxed);
  raise_by(&c->value, value);
}

double metric_value_of(struct metric *m, const char *const *values, size_t count) {
  struct child *c = child_of(m, values, count, false);
  if (!c || m->kind != HISTOGRAM) return c ? double_of(atomic_load(&c->value)) : 0;
  uint64_t seen = 0;
  for (size_t i = 0; i <= m->bound_count; i++) seen += atomic_load(&c->buckets[i]);
  return (double)seen;
}

/* ---- telling ---- */

static void add_number(struct buf *out, double n) {
  char text[40];
  if (n != n || n > 1.7e308 || n < -1.7e308) {
    buf_text(out, n != n ? "NaN" : n > 0 ? "+Inf" : "-Inf");
    return;
  }
  snprintf(text, sizeof(text), "%.15g", n);
  if (strtod(text, NULL) != n) snprintf(text, sizeof(text), "%.17g", n);
  for (char *c = text; *c; c++)
    if (*c == ',') *c = '.'; /* another locale's point */
  buf_text(out, text);
}

static void add_escaped(struct buf *out, const char *text, bool quotes) {
  for (; *text; text++) {
    if (*text == '\\')
      buf_text(out, "\\\\");
    else if (*text == '\n')
      buf_text(out, "\\n");
    else if (*text == '"' && quotes)
      buf_text(out, "\\\"");
    else if ((unsigned char)*text < 0x20 || *text == 0x7f)
      buf_char(out, ' ');
    else
      buf_char(out, *text);
  }
}

/* Label values come from outside: what is no UTF-8 would spoil the whole page. */
static void add_value(struct buf *out, const char *value) {
  struct buf buf_auto json = {0};
  buf_json_text(&json, value, strlen(value)); /* only for its eye for broken letters */
  bool whole = strstr(json.data, "\xef\xbf\xbd") == NULL && strstr(json.data, "\\ufffd") == NULL;
  if (whole)
    add_escaped(out, value, true);
  else
    buf_text(out, "invalid");
}

static void add_sample(struct buf *out, const struct metric *m, const struct child *c, const char *suffix,
                       const double *bound, double n) {
  bool infinite = bound && bound == m->bounds + m->bound_count;
  buf_format(out, "%s%s", m->name, suffix);
  const char *separator = "{";
  for (size_t i = 0; i < m->label_count; i++) {
    buf_format(out, "%s%s=\"", separator, m->labels[i]);
    add_value(out, c->values[i]);
    buf_char(out, '"');
    separator = ",";
  }
  if (bound) {
    buf_format(out, "%sle=\"", separator);
    if (infinite)
      buf_text(out, "+Inf");
    else
      add_number(out, *bound);
    buf_char(out, '"');
  }
  if (m->label_count || bound) buf_char(out, '}');
  buf_char(out, ' ');
  add_number(out, n);
  buf_char(out, '\n');
}

static void add_child(struct buf *out, const struct metric *m, struct child *c) {
  double value = double_of(atomic_load(&c->value));
  if (m->kind != HISTOGRAM) {
    add_sample(out, m, c, "", NULL, value);
    return;
  }
  uint64_t seen = 0;
  for (size_t i = 0; i <= m->bound_count; i++) {
    seen += atomic_load(&c->buckets[i]);
    add_sample(out, m, c, "_bucket", &m->bounds[i], (double)seen);
  }
  add_sample(out, m, c, "_sum", NULL, value);
  add_sample(out, m, c, "_count", NULL, (double)seen);
}

static void add_metric(struct buf *out, struct metric *m) {
  static const char *const kinds[] = {"", "counter", "gauge", "histogram"};
  buf_format(out, "# HELP %s ", m->name);
  add_escaped(out, m->help, false);
  buf_format(out, "\n# TYPE %s %s\n", m->name, kinds[m->kind]);
  if (!m->label_count) child_of(m, NULL, 0, true); /* one without labels is there from the beginning, as 0 */
  for (size_t i = 0; i < SLOTS; i++) {
    struct child *c = atomic_load_explicit(&m->slots[i], memory_order_acquire);
    if (c) add_child(out, m, c);
  }
  struct child *other = atomic_load(&m->other);
  if (other) add_child(out, m, other);
}

void metric_render(struct buf *out) {
  pthread_mutex_lock(&making);
  struct metric *end = last;
  pthread_mutex_unlock(&making);
  for (struct metric *m = atomic_load(&first); m; m = m == end ? NULL : m->next) add_metric(out, m);
}
