#include "api/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

enum { EVENTS_MAX = 1000 };
static const int64_t HEARTBEAT_US = 15 * 1000000, LOOK_US = 1000000, WAIT_MAX_S = 60;

/* ---- being woken --------------------------------------------------------------------------------------------------------- */

struct bell {
  pthread_mutex_t lock;
  pthread_cond_t rung;
  bool woken;
};

static void bell_open(struct bell *bell) {
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_mutex_init(&bell->lock, NULL);
  pthread_cond_init(&bell->rung, &monotonic);
  pthread_condattr_destroy(&monotonic);
  bell->woken = false;
}

static void bell_close(struct bell *bell) {
  pthread_cond_destroy(&bell->rung);
  pthread_mutex_destroy(&bell->lock);
}

static void bell_ring(void *context) {
  struct bell *bell = context;
  pthread_mutex_lock(&bell->lock);
  bell->woken = true;
  pthread_cond_signal(&bell->rung);
  pthread_mutex_unlock(&bell->lock);
}

static void bell_wait(struct bell *bell, int64_t most_us) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += (most_us % 1000000) * 1000;
  until.tv_sec += most_us / 1000000 + until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  pthread_mutex_lock(&bell->lock);
  while (!bell->woken && pthread_cond_timedwait(&bell->rung, &bell->lock, &until) != ETIMEDOUT) {}
  bell->woken = false;
  pthread_mutex_unlock(&bell->lock);
}

/* ---- what a request says ---------------------------------------------------------------------------------------------------- */

static bool number_read(const char *text, uint64_t *n) {
  char *end;
  errno = 0;
  if (*text < '0' || *text > '9') return false;
  *n = strtoull(text, &end, 10);
  return !*end && !errno && *n <= INT64_MAX;
}

bool stream_since(struct exchange *x, uint64_t *since, bool *given) {
  const char *last = http_header(x, "Last-Event-ID"), *query = http_query(x, "since");
  const char *text = last && *last ? last : query && *query ? query : NULL;
  *since = 0;
  *given = text != NULL;
  if (!text || number_read(text, since)) return true;
  http_problem(x, 400, "invalid", "'since' has to be the number of an event: %.40s is none", text);
  return false;
}

bool stream_is_sse(struct exchange *x) {
  const char *accept = http_header(x, "Accept");
  return accept && strcasestr(accept, "text/event-stream");
}

static bool rate_read(struct exchange *x, const char *name, double most, double *rate) {
  const char *text = http_query(x, name);
  char *end;
  *rate = 0;
  if (!text || !*text) return true;
  *rate = strtod(text, &end);
  if (!*end && *rate >= 0 && *rate <= most) return true;
  http_problem(x, 400, "invalid", "'%s' has to be a number from 0 to %g", name, most);
  return false;
}

bool stream_rates(struct exchange *x, struct subscription *subscription) {
  double seconds;
  if (!rate_read(x, "minStep", 100, &subscription->min_step_pct)) return false;
  if (!rate_read(x, "minInterval", 60, &seconds)) return false;
  subscription->min_interval_us = (int64_t)(seconds * 1e6);
  return true;
}

bool stream_wait(struct exchange *x, int64_t *wait_us) {
  struct error e = {0};
  if (http_query_int(x, "wait", 0, WAIT_MAX_S, 0, wait_us, &e)) {
    http_error(x, &e);
    return false;
  }
  *wait_us *= 1000000;
  return true;
}

/* ---- server-sent events ------------------------------------------------------------------------------------------------------- */

/* The credential may run out while the stream is open. */
static bool still_allowed(struct exchange *x) {
  const struct principal *who = http_principal(x);
  if (!who) return false;
  if (who->expires_us && who->expires_us <= clock_wall(&clock_system)) return false;
  return !keyring_is_revoked(api_service(x)->keyring, who);
}

static bool sse_write(struct exchange *x, uint64_t id, const char *type, const char *json, size_t size) {
  buf_auto struct buf out = {0};
  if (id) buf_format(&out, "id: %" PRIu64 "\n", id);
  buf_format(&out, "event: %s\ndata: ", type);
  buf_add(&out, json, size);
  buf_text(&out, "\n\n");
  return http_write(x, out.data, out.size);
}

static bool sse_state(const struct stream *s) {
  buf_auto struct buf json = {0};
  if (!s->state) return true;
  value_json(&json, s->state, VALUE_JSON_COMPACT);
  return sse_write(s->x, (uint64_t)value_get_int(s->state, "seq", 0), "state", json.data, json.size);
}

/* Everything there is to take. False: the stream is over. */
static bool sse_take(const struct stream *s, struct follower *follower) {
  for (;;) {
    struct letter letter = {0};
    enum taken taken = follower_take(follower, &letter);
    if (taken == TAKEN_NOTHING) return true;
    if (taken == TAKEN_OVERRUN) return false; /* it comes back with Last-Event-ID */
    uint64_t id = letter.stored ? s->by_cursor ? letter.cursor : letter.seq : 0;
    bool there = sse_write(s->x, id, letter.type && *letter.type ? letter.type : "message", letter.json, letter.size);
    bool over = letter.terminal && s->ends && s->ends(s->context, &letter);
    letter_clear(&letter);
    if (!there || over) return false;
  }
}

static void sse_run(const struct stream *s, struct follower *follower, struct bell *bell) {
  static const char comment[] = ": still here\n\n";
  int64_t said_us = clock_boot(&clock_system);
  while (sse_take(s, follower)) {
    if (!still_allowed(s->x) || !http_is_alive(s->x)) return;
    bell_wait(bell, LOOK_US);
    int64_t now_us = clock_boot(&clock_system);
    if (now_us - said_us < HEARTBEAT_US) continue;
    if (!http_write(s->x, comment, sizeof comment - 1)) return;
    said_us = now_us;
  }
}

void stream_sse(const struct stream *s) {
  static const char begin[] = "retry: 2000\n\n";
  struct hub *hub = api_service(s->x)->hub;
  struct bell bell;
  struct error e = {0};
  bell_open(&bell);
  struct follower_options options = {.wake = bell_ring, .context = &bell};
  struct follower *follower = follower_attach(hub, &options);
  if (follower_subscribe(follower, &s->subscription, &e)) {
    http_error(s->x, &e);
  } else {
    http_set_header(s->x, "Cache-Control", "no-store");
    http_set_header(s->x, "X-Accel-Buffering", "no"); /* nginx hands it on as it comes */
    http_begin(s->x, 200, "text/event-stream");
    bool head = strcmp(http_method(s->x), "HEAD") == 0;
    if (!head && http_write(s->x, begin, sizeof begin - 1) && sse_state(s)) sse_run(s, follower, &bell);
    http_end(s->x);
  }
  follower_detach(hub, &follower);
  bell_close(&bell);
}

/* ---- long poll ------------------------------------------------------------------------------------------------------------------ */

static enum taken poll_take(const struct stream *s, struct follower *follower, struct value *events, uint64_t *last) {
  for (;;) {
    struct letter letter = {0};
    struct value *event = NULL;
    enum taken taken = events->count < EVENTS_MAX ? follower_take(follower, &letter) : TAKEN_NOTHING;
    if (taken != TAKEN_MESSAGE) return taken;
    bool gap = letter.type && strcmp(letter.type, "gap") == 0;
    if ((letter.stored || gap) && !value_from_json(letter.json, letter.size, &event, NULL)) value_list_add(events, event);
    if (letter.stored) *last = s->by_cursor ? letter.cursor : letter.seq;
    letter_clear(&letter);
  }
}

bool stream_poll(const struct stream *s, int64_t wait_us, struct value *events, uint64_t *last) {
  struct hub *hub = api_service(s->x)->hub;
  int64_t until_us = clock_boot(&clock_system) + wait_us;
  struct bell bell;
  struct error e = {0};
  bell_open(&bell);
  struct follower_options options = {.wake = bell_ring, .context = &bell};
  struct follower *follower = follower_attach(hub, &options);
  bool good = !follower_subscribe(follower, &s->subscription, &e), lingers = false;
  *last = s->by_cursor ? s->subscription.since_cursor : s->subscription.since_seq;
  if (!good) http_error(s->x, &e);
  while (good && poll_take(s, follower, events, last) == TAKEN_NOTHING && !events->count) {
    int64_t left_us = until_us - clock_boot(&clock_system);
    if (left_us <= 0 || !http_is_alive(s->x)) break;
    good = lingers || (lingers = http_linger(s->x));
    if (good) bell_wait(&bell, left_us < LOOK_US ? left_us : LOOK_US);
  }
  follower_detach(hub, &follower);
  bell_close(&bell);
  return good;
}
