/* One message as text, made once and shared by every mailbox it lies in. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "events/envelope.h"
#include "events/hub_parts.h"

uint32_t text_hash(const char *text) { /* FNV-1a */
  uint32_t h = 2166136261u;
  for (; *text; text++) h = (h ^ (unsigned char)*text) * 16777619u;
  return h;
}

struct letter_body *body_hold(struct letter_body *body) {
  atomic_fetch_add_explicit(&body->references, 1, memory_order_relaxed);
  return body;
}

void body_release(struct letter_body **at) {
  struct letter_body *body = *at;
  *at = NULL;
  if (body && atomic_fetch_sub_explicit(&body->references, 1, memory_order_acq_rel) == 1) free(body);
}

size_t body_bytes(const struct letter_body *body) { return body->json_size + sizeof(struct item); }

static const char *put(char **to, const char *text) {
  size_t size = strlen(text) + 1;
  const char *at = memcpy(*to, text, size);
  *to += size;
  return at;
}

/* json is an object; its closing brace makes way for the cursor. */
static struct letter_body *body_new(const char *type, const char *job, const char *stage, const char *json,
                                    size_t json_size, uint64_t cursor_shown) {
  struct buf tail = {0};
  if (cursor_shown) {
    buf_format(&tail, ",\"cursor\":%llu}", (unsigned long long)cursor_shown);
    json_size--;
  }
  size_t texts = strlen(type) + strlen(job) + strlen(stage) + 3;
  struct letter_body *body = mem_alloc(sizeof *body + texts + json_size + tail.size + 1);
  char *to = (char *)(body + 1);
  body->type = put(&to, type);
  body->job = put(&to, job);
  body->stage = put(&to, stage);
  body->json = to;
  memcpy(to, json, json_size);
  memcpy(to + json_size, buf_string(&tail), tail.size);
  body->json_size = json_size + tail.size;
  body->job_hash = text_hash(job);
  atomic_init(&body->references, 1);
  buf_free(&tail);
  return body;
}

struct letter_body *body_of_news(const struct news *news, bool wide) {
  struct letter_body *body = body_new(news->type, news->job ? news->job : "", news->stage ? news->stage : "",
                                      news->json, news->json_size, wide ? news->cursor : 0);
  body->stored = news->stored;
  body->terminal = news->terminal;
  body->seq = news->seq;
  body->cursor = news->cursor;
  body->published_us = hub_now_us();
  if (!news->stored) body->pct = value_get_number(news->event, "pct", 0);
  return body;
}

/* Byte for byte what body_of_news made of the same event when it happened. */
struct letter_body *body_of_event(const struct event_record *event, bool wide) {
  struct buf buf_auto json = {0};
  event_envelope(&json, event);
  const char *second = strchr(buf_string(&json), ','); /* its key says whose the event is */
  bool of_job = second && strncmp(second, ",\"jobId\":", 9) == 0;
  struct letter_body *body =
      body_new(event->type, of_job ? event->job : "", "", buf_string(&json), json.size, wide ? event->cursor : 0);
  body->stored = body->replayed = true;
  body->terminal = event_is_terminal(event->type);
  body->seq = event->seq;
  body->cursor = event->cursor;
  return body;
}

struct letter_body *body_of_gap(const struct topic *topic, uint64_t since, uint64_t first) {
  bool batch = topic->kind == TOPIC_BATCH, job = topic->kind == TOPIC_JOB;
  value_auto struct value *gap = value_map();
  struct buf buf_auto json = {0};
  char at[32];
  value_set_text(gap, "type", "gap");
  if (job || batch) value_set_text(gap, job ? "jobId" : "batchId", topic->id);
  value_set_int(gap, "seq", job || batch ? (int64_t)first - 1 : 0);
  value_set_text(gap, "at", clock_format(clock_wall(&clock_system), at));
  value_set_int(gap, "since", (int64_t)since);
  value_set_int(gap, "first", (int64_t)first);
  value_json(&json, gap, VALUE_JSON_COMPACT);
  struct letter_body *body = body_new("gap", job ? topic->id : "", "", buf_string(&json), json.size, 0);
  body->replayed = true;
  return body;
}

void letter_clear(struct letter *letter) {
  body_release(&letter->body);
  memset(letter, 0, sizeof *letter);
}
