/* A delivery, its side record, and its public form; listing and replaying them. */
#include <string.h>

#include "base/mem.h"
#include "common/url.h"
#include "service/notify_parts.h"

static const char *const kind_words[] = {"?", "webhook", "mail"};
static const char *const state_words[] = {"?", "waiting", "delivered", "dead"};

void delivery_clear(struct delivery *d) {
  char *const texts[] = {d->id, d->owner, d->subject, d->to, d->secret, d->event, d->source, d->error};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) free(texts[i]);
  *d = (struct delivery){0};
}

static int word_index(const char *word, const char *const *words, int count) {
  for (int i = 1; i < count; i++)
    if (strcmp(words[i], word) == 0) return i;
  return 0;
}

bool delivery_read(const struct side_record *r, struct delivery *d) {
  value_auto struct value *v = NULL;
  *d = (struct delivery){0};
  if (!r->body_json || value_from_json(r->body_json, strlen(r->body_json), &v, NULL)) return false;
  *d = (struct delivery){.kind = (enum delivery_kind)word_index(value_get_text(v, "kind", ""), kind_words, 3),
                         .state = (enum delivery_state)word_index(value_get_text(v, "state", ""), state_words, 4),
                         .id = mem_text(r->id),
                         .owner = mem_text(r->owner),
                         .subject = mem_text(r->group),
                         .batch = value_get_bool(v, "batch", false),
                         .to = mem_text(value_get_text(v, "to", NULL)),
                         .secret = mem_text(value_get_text(v, "secret", NULL)),
                         .event = mem_text(value_get_text(v, "event", NULL)),
                         .source = mem_text(value_get_text(v, "source", NULL)),
                         .seq = (uint64_t)value_get_int(v, "seq", 0),
                         .attempts = (uint32_t)value_get_int(v, "attempts", 0),
                         .max_attempts = (uint32_t)value_get_int(v, "maxAttempts", 1),
                         .due_us = r->due_us,
                         .last_us = value_get_int(v, "lastUs", 0),
                         .created_us = r->created_us,
                         .status = (int32_t)value_get_int(v, "lastStatus", 0),
                         .error = mem_text(value_get_text(v, "error", NULL)),
                         .version = r->version};
  if (d->kind && d->state && d->subject && d->to && d->event && d->source) return true;
  delivery_clear(d);
  return false;
}

struct side_record delivery_record(const struct delivery *d) {
  value_auto struct value *v = value_map();
  struct buf json = {0};
  value_set_text(v, "kind", kind_words[d->kind]);
  value_set_text(v, "state", state_words[d->state]);
  if (d->batch) value_set_bool(v, "batch", true);
  value_set_text(v, "to", d->to);
  if (d->secret) value_set_text(v, "secret", d->secret);
  value_set_text(v, "event", d->event);
  value_set_text(v, "source", d->source);
  value_set_int(v, "seq", (int64_t)d->seq);
  value_set_int(v, "attempts", d->attempts);
  value_set_int(v, "maxAttempts", d->max_attempts);
  if (d->last_us) value_set_int(v, "lastUs", d->last_us);
  if (d->status) value_set_int(v, "lastStatus", d->status);
  if (d->error) value_set_text(v, "error", d->error);
  value_json(&json, v, VALUE_JSON_COMPACT);
  return (struct side_record){.kind = SIDE_DELIVERY,
                              .id = mem_text(d->id),
                              .owner = mem_text(d->owner),
                              .group = mem_text(d->subject),
                              .due_us = d->state == DELIVERY_WAITING ? d->due_us : 0,
                              .body_json = buf_take(&json)};
}

static void set_time(struct value *v, const char *key, int64_t us) {
  char at[32];
  if (us > 0)
    value_set_text(v, key, clock_format(us, at));
  else
    value_map_set(v, key, value_null());
}

struct value *delivery_value(const struct delivery *d) {
  struct value *v = value_map();
  char shown[1024];
  value_set_text(v, "id", d->id);
  value_set_text(v, "kind", kind_words[d->kind]);
  value_set_text(v, "to", d->kind == DELIVERY_WEBHOOK ? url_redact(d->to, shown, sizeof shown) : d->to);
  value_set_text(v, "event", d->event);
  value_set_text(v, d->batch ? "batchId" : "jobId", d->subject);
  value_set_int(v, "seq", (int64_t)d->seq);
  value_set_text(v, "owner", d->owner);
  value_set_text(v, "source", d->source);
  value_set_text(v, "state", state_words[d->state]);
  value_set_int(v, "attempts", d->attempts);
  value_set_int(v, "maxAttempts", d->max_attempts);
  set_time(v, "nextAt", d->state == DELIVERY_WAITING ? d->due_us : 0);
  set_time(v, "lastAt", d->last_us);
  value_map_set(v, "lastStatus", d->status ? value_int(d->status) : value_null());
  value_set_text(v, "error", d->error);
  set_time(v, "createdAt", d->created_us);
  return v;
}

/* ---- for handlers
 * -------------------------------------------------------------------------------------------------------------- */

static enum err read_page(struct store *store, const struct notify_filter *f, const char *after, size_t limit,
                          struct side_list *page, struct error *e) {
  struct side_filter filter = {.kind = SIDE_DELIVERY,
                               .owner = f->owner,
                               .group = f->job,
                               .after_id = after,
                               .newest_first = true,
                               .limit = limit};
  return store_sides(store, &filter, page, e);
}

/* Adds what the filter wants of a page until the limit; answers how many it looked at. */
static size_t add_page(const struct side_list *page, const struct notify_filter *f, size_t limit, struct value *found) {
  size_t i = 0;
  for (; i < page->count && found->count < limit; i++) {
    struct delivery d;
    if (!delivery_read(&page->items[i], &d)) continue;
    if (!f->state || strcmp(f->state, state_words[d.state]) == 0) value_list_add(found, delivery_value(&d));
    delivery_clear(&d);
  }
  return i;
}

enum err notify_list(struct store *store, const struct notify_filter *f, struct value **list, char **next,
                     struct error *e) {
  enum { PAGES_MAX = 50, PAGE = 1000 }; /* of one call: who looks for what is rare may have to go on */
  size_t limit = f->limit == 0 ? 100 : f->limit > PAGE ? PAGE : f->limit, size = f->state ? PAGE : limit;
  struct value *found = value_list();
  mem_auto char *after = mem_text(f->after);
  bool more = true;
  *next = NULL;
  *list = NULL;
  for (int pages = 0; pages < PAGES_MAX && more && found->count < limit; pages++) {
    struct side_list page;
    enum err err = read_page(store, f, after, size, &page, e);
    if (err) return value_free(&found), err;
    size_t seen = add_page(&page, f, limit, found);
    more = page.count == size || seen < page.count;
    if (seen) free(after), after = mem_text(page.items[seen - 1].id);
    side_list_clear(&page);
  }
  if (more && after) *next = mem_text(after);
  *list = found;
  return ERR_OK;
}

static enum err load(struct store *store, const char *id, struct delivery *d, struct error *e) {
  struct side_record r;
  *d = (struct delivery){0};
  if (store_side_get(store, SIDE_DELIVERY, id, &r, NULL) == ERR_OK && delivery_read(&r, d))
    return side_record_clear(&r), ERR_OK;
  side_record_clear(&r);
  return error_set(e, ERR_NOT_FOUND, "there is no delivery %.80s", id);
}

enum err notify_get(struct store *store, const char *id, struct value **delivery, struct error *e) {
  struct delivery d;
  *delivery = NULL;
  enum err err = load(store, id, &d, e);
  if (!err) *delivery = delivery_value(&d);
  delivery_clear(&d);
  return err;
}

enum err notify_replay(struct notify *n, const char *id, struct value **delivery, struct error *e) {
  struct delivery d;
  *delivery = NULL;
  enum err err = load(n->options.store, id, &d, e);
  if (err) return err;
  d.state = DELIVERY_WAITING;
  d.attempts = 0;
  d.due_us = clock_wall(&clock_system);
  struct side_record r = delivery_record(&d);
  struct side_change change = {.record = &r, .expected_version = d.version};
  err = store_side_now(n->options.store, &change, 1, e);
  if (!err) {
    *delivery = delivery_value(&d);
    notify_wake(n);
  }
  side_record_clear(&r);
  delivery_clear(&d);
  return err;
}
