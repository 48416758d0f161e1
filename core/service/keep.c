#include "service/keep.h"

#include "base/log.h"
#include "base/mem.h"
#include "events/envelope.h"
#include "events/news.h"

struct keeping {
  struct service *service;
  const struct side_change *changes;
  size_t count;
  const struct news *told;
};

/* What the completion needs: a request that was given up takes its own with it. */
struct telling {
  struct service *service;
  struct ask *ask;
  char *subject; /* NULL: nothing is told */
  char *job, *batch, *asset, *owner, *pipeline;
};

static void publish(struct service *service, const char *subject, const struct event_record *event,
                    const struct news *told) {
  buf_auto struct buf text = {0};
  value_auto struct value *envelope = NULL;
  struct news news = *told;
  event_envelope(&text, event);
  if (value_from_json(buf_string(&text), text.size, &envelope, NULL)) return;
  news.subject = subject;
  news.type = event->type;
  news.seq = event->seq;
  news.cursor = event->cursor;
  news.stored = true;
  news.terminal = event_is_terminal(event->type);
  news.event = envelope;
  news.json = buf_string(&text);
  news.json_size = text.size;
  hub_publish(service->hub, &news);
}

void keep_tell(struct service *service, const char *subject, const struct commit *commit, const struct news *told) {
  struct event_list events = {0};
  struct error e;
  if (!commit->first_seq || !service->hub) return;
  if (store_events(service->store, subject, commit->first_seq - 1, commit->last_seq - commit->first_seq + 1, &events,
                   &e))
    log_error("%s: event %llu cannot be read back: %s", subject, (unsigned long long)commit->first_seq, e.message);
  for (size_t i = 0; i < events.count; i++) publish(service, subject, &events.items[i], told);
  event_list_clear(&events);
}

static void telling_free(struct telling *t) {
  free(t->subject);
  free(t->job);
  free(t->batch);
  free(t->asset);
  free(t->owner);
  free(t->pipeline);
  free(t);
}

static void kept(void *context, const struct commit *commit) {
  struct telling *t = context;
  struct news told = {.job = t->job, .batch = t->batch, .asset = t->asset, .owner = t->owner, .pipeline = t->pipeline};
  struct error e = commit->error;
  e.code = commit->status;
  if (!commit->status && t->subject) keep_tell(t->service, t->subject, commit, &told);
  service_answer(t->ask, &e, NULL);
  telling_free(t);
}

static void keep_begin(void *context, struct ask *ask) {
  const struct keeping *k = context;
  const struct news *told = k->told;
  struct telling *t = mem_alloc(sizeof(*t));
  t->service = k->service;
  t->ask = ask;
  if (told) {
    t->subject = mem_text(k->changes[k->count - 1].record->id);
    t->job = mem_text(told->job);
    t->batch = mem_text(told->batch);
    t->asset = mem_text(told->asset);
    t->owner = mem_text(told->owner);
    t->pipeline = mem_text(told->pipeline);
  }
  store_side(k->service->store, k->changes, k->count, kept, t);
}

enum err keep_sides(struct service *service, const struct side_change *changes, size_t count, const struct news *told,
                    struct error *e) {
  struct keeping k = {.service = service, .changes = changes, .count = count, .told = told};
  return service_ask(service, keep_begin, &k, NULL, e);
}
