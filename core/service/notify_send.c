/* What courier and postman share: what is due, what a try came to, what is to be told. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "events/envelope.h"
#include "service/notify_parts.h"

enum { PAGE = 200, LOOKED_AT_MAX = 5000, IDLE_US = 30 * 1000000 };
static const int64_t DELAY_MAX_US = 3600ll * 1000000;

/* ---- what is due
 * ---------------------------------------------------------------------------------------------------------------- */

/* One record; false: nothing behind it is due, or enough was taken. */
static bool show(const struct side_record *r, enum delivery_kind kind, int64_t now_us, delivery_take *take,
                 void *context, int64_t *next_us) {
  struct delivery d;
  if (r->due_us > now_us) {
    *next_us = r->due_us;
    return false;
  }
  if (!delivery_read(r, &d)) return true;
  enum taken_delivery taken = DELIVERY_PASSED_OVER;
  if (d.kind == kind && d.state == DELIVERY_WAITING) taken = take(context, &d);
  delivery_clear(&d); /* zeroed when it was taken */
  return taken != DELIVERY_ENOUGH;
}

int64_t deliveries_due(struct notify *n, enum delivery_kind kind, delivery_take *take, void *context) {
  int64_t now_us = clock_wall(&clock_system), next_us = now_us + IDLE_US;
  mem_auto char *after = NULL;
  size_t looked_at = 0;
  for (bool more = true; more && looked_at < LOOKED_AT_MAX;) {
    struct side_list page;
    struct side_filter f = {.kind = SIDE_DELIVERY, .due_until_us = INT64_MAX, .after_id = after, .limit = PAGE};
    if (store_sides(n->options.store, &f, &page, NULL)) break;
    more = page.count == PAGE;
    looked_at += page.count;
    for (size_t i = 0; i < page.count; i++) {
      free(after);
      after = mem_text(page.items[i].id);
      if (show(&page.items[i], kind, now_us, take, context, &next_us)) continue;
      more = false;
      break;
    }
    side_list_clear(&page);
  }
  return next_us;
}

/* ---- what became of it
 * ------------------------------------------------------------------------------------------------------------ */

/* Three times as long after each try, and a little chance, so that what failed together does not come back together. */
static int64_t delay_us(struct notify *n, const struct delivery *d, int64_t asked_us) {
  uint16_t chance = 0;
  int64_t delay = n->options.first_delay_us;
  for (uint32_t i = 1; i < d->attempts && delay < DELAY_MAX_US; i++) delay *= 3;
  if (delay > DELAY_MAX_US) delay = DELAY_MAX_US;
  if (getrandom(&chance, sizeof chance, GRND_NONBLOCK) < 0) chance = 0;
  delay += delay / 10 * chance / UINT16_MAX;
  if (asked_us > DELAY_MAX_US) asked_us = DELAY_MAX_US;
  return delay > asked_us ? delay : asked_us;
}

static void judge(struct notify *n, struct delivery *d, const struct sending *s) {
  int64_t now_us = clock_wall(&clock_system);
  d->attempts++;
  d->last_us = now_us;
  d->status = s->status;
  free(d->error);
  d->error = s->sent == SENT_WELL ? NULL : mem_text(s->error);
  if (s->sent == SENT_WELL) {
    d->state = DELIVERY_DELIVERED;
  } else if (s->sent == SENT_NEVER || d->attempts >= d->max_attempts) {
    d->state = DELIVERY_DEAD;
  } else {
    d->due_us = now_us + delay_us(n, d, s->wait_us);
  }
}

static void count(const struct delivery *d) {
  static const char *const outcomes[] = {"?", "retry", "delivered", "dead"};
  struct metric *m = metric_counter("stagemill_deliveries_total", "tries of webhooks and mails, by what became of them",
                                    "kind,outcome");
  metric_add(m, 1, d->kind == DELIVERY_MAIL ? "mail" : "webhook", outcomes[d->state]);
}

static void tell(const struct delivery *d) {
  value_auto struct value *shown = delivery_value(d);
  const char *what = d->kind == DELIVERY_MAIL ? "mail" : "webhook", *whom = value_get_text(shown, "to", "?");
  if (d->state == DELIVERY_DELIVERED)
    log_debug("%s %s: '%s' of %s delivered to %s", what, d->id, d->event, d->subject, whom);
  else if (d->state == DELIVERY_DEAD)
    log_warning("%s %s: '%s' of %s could not be delivered to %s: %s; it can be replayed", what, d->id, d->event,
                d->subject, whom, d->error);
  else
    log_info("%s %s: '%s' of %s to %s: %s; try %u of %u is next", what, d->id, d->event, d->subject, whom, d->error,
             d->attempts + 1, d->max_attempts);
}

/* Until it is on disk: what was sent and is not known to be would be sent again and again. */
static enum err store_until_done(struct notify *n, const struct side_change *change, struct error *e) {
  for (bool told = false;; told = true) {
    enum err err = store_side_now(n->options.store, change, 1, e);
    if ((err != ERR_NO_SPACE && err != ERR_IO) || notify_stopping_now(n)) return err;
    if (!told) log_error("what became of a notification cannot be stored, nothing more is sent: %s", e->message);
    nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
  }
}

void delivery_settle(struct notify *n, struct delivery *d, const struct sending *s) {
  if (s->sent == SENT_STOPPED) return; /* as if it had not been tried */
  struct error e = {0};
  judge(n, d, s);
  struct side_record r = delivery_record(d);
  struct side_change change = {.record = &r, .expected_version = d->version};
  enum err err = store_until_done(n, &change, &e);
  side_record_clear(&r);
  count(d);
  if (err == ERR_CONFLICT) return; /* replayed or removed in the meantime: that counts */
  if (err) log_error("delivery %s: %s", d->id, e.message);
  tell(d);
}

/* ---- what is told
 * -------------------------------------------------------------------------------------------------------------------
 */

enum err delivery_envelope(struct notify *n, const struct delivery *d, struct buf *json) {
  struct event_list events = {0};
  struct error e = {0};
  enum err err = store_events(n->options.store, d->subject, d->seq - 1, 1, &events, &e);
  if (!err && (events.count != 1 || events.items[0].seq != d->seq)) err = ERR_NOT_FOUND;
  if (!err) event_envelope(json, &events.items[0]);
  event_list_clear(&events);
  if (err != ERR_NOT_FOUND) return err;
  struct side_record gone = {.kind = SIDE_DELIVERY, .id = d->id};
  struct side_change change = {.record = &gone, .expected_version = d->version, .remove = true};
  store_side_now(n->options.store, &change, 1, NULL);
  return err;
}
