/* Writing side records: what callers ask for, and the verb that does it. All is looked at before anything is written.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/inner.h"

enum { SIDES_MAX = 1024 };

/* ---- asking ---- */

static void check_text(struct request *r, const char *text, const char *what) {
  if (!text[0] || strlen(text) > NAME_BYTES_MAX)
    request_refuse(r, ERR_TOO_LARGE, "a side record's %s must have 1 to 255 bytes", what);
  for (const char *c = text; *c; c++)
    if ((unsigned char)*c < ' ' || *c == 0x7f)
      request_refuse(r, ERR_USAGE, "a side record's %s must not hold control characters", what);
}

static void check_side(struct request *r, const struct side_change *c) {
  const struct side_record *s = c->record;
  if (s->kind < SIDE_ASSET || s->kind >= SIDE_KINDS)
    request_refuse(r, ERR_USAGE, "a side record's %s is not valid", "kind");
  check_text(r, s->id ? s->id : "", "id");
  if (c->remove && c->event_count) request_refuse(r, ERR_USAGE, "%s go with their record", "events");
  if (c->remove) return;
  if (s->owner) check_text(r, s->owner, "owner");
  if (s->group) check_text(r, s->group, "group");
  if (s->due_us < 0) request_refuse(r, ERR_USAGE, "a side record's %s is before 1970", "due time");
  if (s->body_json && strlen(s->body_json) > STORE_VALUE_MAX)
    request_refuse(r, ERR_TOO_LARGE, "a side record's %s is above the 16 KiB that the store takes", "body");
}

static int by_id(const void *a, const void *b) {
  const struct side_draft *const *one = a, *const *other = b;
  return strcmp((*one)->record.id, (*other)->record.id);
}

/* Each record once, each history once: then what was checked before writing still holds while writing. */
static void check_twins(struct request *r) {
  struct side_draft **sorted = mem_array(r->side_count, sizeof(*sorted));
  for (size_t i = 0; i < r->side_count; i++) sorted[i] = &r->sides[i];
  qsort(sorted, r->side_count, sizeof(*sorted), by_id);
  for (size_t i = 1; i < r->side_count; i++)
    for (size_t k = i; k-- > 0 && by_id(&sorted[i], &sorted[k]) == 0;)
      if (sorted[i]->record.kind == sorted[k]->record.kind || (sorted[i]->event_count && sorted[k]->event_count))
        request_refuse(r, ERR_USAGE, "'%s' is there twice in one change", sorted[i]->record.id);
  free(sorted);
}

static struct request *side_request(const struct side_change *changes, size_t count, store_done *done, void *context) {
  struct request *r = request_new(VERB_SIDE, NULL, done, context);
  if (count > SIDES_MAX) request_refuse(r, ERR_USAGE, "too many %s in one change", "side records");
  r->sides = mem_array(count, sizeof(*r->sides));
  for (size_t i = 0; i < count && !r->refused; i++) {
    const struct side_change *c = &changes[i];
    check_side(r, c);
    if (r->refused) break;
    struct side_draft *d = &r->sides[r->side_count++];
    *d = (struct side_draft){.expected_version = c->expected_version, .remove = c->remove};
    record_copy(&side_layout, &d->record, c->record, sizeof(d->record));
    d->event_count = c->event_count;
    d->events = request_events(r, c->events, &d->event_count);
  }
  if (!r->refused) check_twins(r);
  return r;
}

void store_side(struct store *store, const struct side_change *changes, size_t count, store_done *done, void *context) {
  writer_queue(store, side_request(changes, count, done, context));
}

enum err store_side_now(struct store *store, const struct side_change *changes, size_t count, struct error *e) {
  return writer_ask(store, side_request(changes, count, NULL, NULL), e);
}

/* ---- doing ---- */

static bool version_agrees(struct work *w, struct request *r, const struct side_draft *d) {
  struct side_record stored;
  bool there = side_load(&w->tx, d->record.kind, d->record.id, &stored);
  uint64_t version = there ? stored.version : 0;
  side_record_clear(&stored);
  if (w->tx.fault) return false;
  if (d->expected_version == SIDE_ANY || d->expected_version == version) return true;
  if (!there)
    refuse(r, ERR_CONFLICT, "'%s' is not there any more", d->record.id);
  else if (d->expected_version == SIDE_NEW)
    refuse(r, ERR_CONFLICT, "'%s' is there already", d->record.id);
  else
    refuse(r, ERR_CONFLICT, "'%s' was changed in the meantime: read it again", d->record.id);
  return false;
}

/* A history is one job's or one record's: two that share an id would read each other's events. */
static bool history_is_free(struct work *w, struct request *r, const struct side_draft *d) {
  struct subject of;
  MDB_val v;
  struct key job = key_text(d->record.id);
  if (!d->event_count) return true;
  bool taken = subject_load(&w->tx, d->record.id, &of) ? of.side != (uint32_t)d->record.kind
                                                       : !w->tx.fault && row_get(&w->tx, DB_JOBS, &job, &v);
  if (taken && !w->tx.fault) refuse(r, ERR_CONFLICT, "'%s' is the id of something else that has events", d->record.id);
  return !taken && !w->tx.fault;
}

static void apply(struct work *w, struct request *r, const struct side_draft *d) {
  struct side_record old, next = d->record; /* borrows */
  bool there = side_load(&w->tx, next.kind, next.id, &old);
  if (!d->remove) {
    next.version = there ? old.version + 1 : 1;
    next.created_us = there ? old.created_us : w->now_us;
    next.updated_us = w->now_us;
  }
  if (there || !d->remove) side_save(&w->tx, there ? &old : NULL, d->remove ? NULL : &next);
  side_record_clear(&old);
  if (!d->event_count) return;
  struct subject of;
  subject_load(&w->tx, next.id, &of);
  of.id = next.id;
  of.side = (uint32_t)next.kind;
  events_append(w, &of, d->events, d->event_count, &r->commit);
}

void verb_side(struct work *w, struct request *r) {
  for (size_t i = 0; i < r->side_count; i++)
    if (!version_agrees(w, r, &r->sides[i]) || !history_is_free(w, r, &r->sides[i])) return;
  for (size_t i = 0; i < r->side_count; i++) apply(w, r, &r->sides[i]);
}
