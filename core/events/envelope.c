#include "events/envelope.h"

#include <string.h>

#include "base/clock.h"

/* The key that says whose event it is. */
static const char *subject_key(const char *subject, const struct value *body) {
  static const char *const others[] = {"batchId", "asset"};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (strcmp(value_get_text(body, others[i], ""), subject) == 0) return others[i];
  return "jobId";
}

static struct value *envelope_head(const char *type, const char *key, const char *subject, uint64_t seq,
                                   int64_t at_us) {
  char at[32];
  struct value *v = value_map();
  value_set_text(v, "type", type);
  value_set_text(v, key, subject);
  value_set_int(v, "seq", (int64_t)seq);
  value_set_text(v, "at", clock_format(at_us, at));
  return v;
}

/* The common fields are the envelope's own: a body cannot speak for another job or another number. */
static void envelope_add(struct value *envelope, const struct value *fields) {
  for (size_t i = 0; fields && fields->type == VALUE_MAP && i < fields->count; i++) {
    bool taken = false;
    for (size_t k = 0; k < 4; k++) taken |= strcmp(envelope->keys[k], fields->keys[i]) == 0;
    if (!taken) value_map_set(envelope, fields->keys[i], value_copy(fields->items[i]));
  }
}

void event_envelope(struct buf *out, const struct event_record *event) {
  value_auto struct value *v = NULL, *body = NULL;
  if (event->body_json && value_from_json(event->body_json, strlen(event->body_json), &body, NULL)) body = NULL;
  v = envelope_head(event->type, subject_key(event->job, body), event->job, event->seq, event->at_us);
  envelope_add(v, body);
  value_json(out, v, VALUE_JSON_COMPACT);
}

struct value *event_unstored(const char *type, const char *job, uint64_t last_seq, int64_t at_us,
                             const struct value *fields) {
  struct value *v = envelope_head(type, subject_key(job, fields), job, last_seq, at_us);
  envelope_add(v, fields);
  return v;
}

bool event_is_terminal(const char *type) {
  static const char *const ends[] = {"completed",       "failed",       "cancelled",
                                     "batch-completed", "batch-failed", "batch-cancelled"};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
    if (strcmp(type, ends[i]) == 0) return true;
  return false;
}
