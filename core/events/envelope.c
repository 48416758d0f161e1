#include "events/envelope.h"

#include <string.h>

#include "base/clock.h"

static struct value *envelope_head(const char *type, const char *job, uint64_t seq, int64_t at_us) {
  char at[32];
  struct value *v = value_map();
  value_set_text(v, "type", type);
  value_set_text(v, "jobId", job);
  value_set_int(v, "seq", (int64_t)seq);
  value_set_text(v, "at", clock_format(at_us, at));
  return v;
}

/* The four common fields are the envelope's own: a body cannot speak for another job or another number. */
static void envelope_add(struct value *envelope, const struct value *fields) {
  static const char *const ours[] = {"type", "jobId", "seq", "at"};
  for (size_t i = 0; fields && fields->type == VALUE_MAP && i < fields->count; i++) {
    bool taken = false;
    for (size_t k = 0; k < sizeof ours / sizeof *ours; k++) taken |= strcmp(ours[k], fields->keys[i]) == 0;
    if (!taken) value_map_set(envelope, fields->keys[i], value_copy(fields->items[i]));
  }
}

void event_envelope(struct buf *out, const struct event_record *event) {
  value_auto struct value *v = envelope_head(event->type, event->job, event->seq, event->at_us), *body = NULL;
  if (event->body_json && !value_from_json(event->body_json, strlen(event->body_json), &body, NULL))
    envelope_add(v, body);
  value_json(out, v, VALUE_JSON_COMPACT);
}

struct value *event_unstored(const char *type, const char *job, uint64_t last_seq, int64_t at_us,
                             const struct value *fields) {
  struct value *v = envelope_head(type, job, last_seq, at_us);
  envelope_add(v, fields);
  return v;
}

bool event_is_terminal(const char *type) {
  return strcmp(type, "completed") == 0 || strcmp(type, "failed") == 0 || strcmp(type, "cancelled") == 0;
}
