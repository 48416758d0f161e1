#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "events/envelope.h"

int rig_begin(void **state) {
  struct rig *rig = mem_alloc(sizeof *rig);
  if (scene_begin((void **)&rig->scene)) return -1;
  *state = rig;
  return hub_create(&rig->hub, rig->scene->store, NULL) ? -1 : 0;
}

int rig_end(void **state) {
  struct rig *rig = *state;
  hub_destroy(&rig->hub);
  int wrong = scene_end((void **)&rig->scene);
  free(rig);
  return wrong;
}

#pragma GCC diagnostic ignored "-Wcast-qual"
void rig_job(struct rig *rig, char id[STORE_ID_MAX], const char *owner, const char *asset) {
  static int number;
  char identity[32];
  snprintf(identity, sizeof identity, "identity-%d", ++number);
  struct job_record job = {.identity = identity,
                           .pipeline = (char *)"p",
                           .spec_json = (char *)"{}",
                           .owner = (char *)owner,
                           .asset = (char *)asset,
                           .status = JOB_QUEUED,
                           .priority = 50,
                           .max_attempts = 4,
                           .attempt = 1};
  struct event_draft queued = {.type = "queued", .body_json = "{}"};
  struct answer a = {0};
  store_submit(rig->scene->store, &job, two_stages, 2, &queued, 1, answer_keep, &a);
  assert_int_equal(store_flush(rig->scene->store, NULL), 0);
  assert_int_equal(a.status, 0);
  snprintf(id, STORE_ID_MAX, "%s", a.job);
}

void rig_tell(struct rig *rig, const char *id, uint64_t seq) {
  struct event_list list = {0};
  struct job_record job = {0};
  assert_int_equal(store_events(rig->scene->store, id, seq - 1, 1, &list, NULL), 0);
  assert_int_equal(list.count, 1);
  assert_int_equal(store_job(rig->scene->store, id, &job, NULL), 0);
  struct buf buf_auto json = {0};
  event_envelope(&json, list.items);
  struct news news = {.subject = id,
                      .job = id,
                      .owner = job.owner,
                      .asset = job.asset,
                      .type = list.items->type,
                      .seq = seq,
                      .cursor = list.items->cursor,
                      .stored = true,
                      .terminal = event_is_terminal(list.items->type),
                      .json = buf_string(&json),
                      .json_size = json.size};
  hub_publish(rig->hub, &news);
  job_record_clear(&job);
  event_list_clear(&list);
}

uint64_t rig_store(struct rig *rig, const char *job, const char *type, bool tell) {
  struct event_draft draft = {.type = type, .body_json = "{\"n\":1}"};
  struct change change = {.job = job, .events = &draft, .event_count = 1};
  struct answer a = {0};
  store_change(rig->scene->store, &change, answer_keep, &a);
  assert_int_equal(store_flush(rig->scene->store, NULL), 0);
  assert_int_equal(a.status, 0);
  if (tell) rig_tell(rig, job, a.last_seq);
  return a.last_cursor;
}

void rig_progress(struct rig *rig, const char *job, const char *stage, double pct) {
  value_auto struct value *fields = value_map();
  value_set_number(fields, "pct", pct);
  value_set_text(fields, "stage", stage);
  struct job_record record = {0};
  assert_int_equal(store_job(rig->scene->store, job, &record, NULL), 0);
  value_auto struct value *event = event_unstored("progress", job, record.last_seq, 0, fields);
  struct buf buf_auto json = {0};
  value_json(&json, event, VALUE_JSON_COMPACT);
  struct news news = {.subject = job,
                      .job = job,
                      .owner = record.owner,
                      .asset = record.asset,
                      .type = "progress",
                      .stage = stage,
                      .seq = record.last_seq,
                      .event = event,
                      .json = buf_string(&json),
                      .json_size = json.size};
  hub_publish(rig->hub, &news);
  job_record_clear(&record);
}

struct follower *rig_follow(struct rig *rig, const char *topic, const struct subscription *more) {
  struct follower *follower = follower_attach(rig->hub, &(struct follower_options){0});
  struct subscription s = more ? *more : (struct subscription){0};
  assert_int_equal(topic_parse(topic, &s.topic, NULL), 0);
  if (s.topic.kind == TOPIC_OWN) s.topic.id = "ann";
  assert_int_equal(follower_subscribe(follower, &s, NULL), 0);
  return follower;
}

const char *rig_take(struct follower *follower) {
  static struct buf out;
  struct letter letter;
  buf_reset(&out);
  enum taken taken;
  int nothing = 0;
  while ((taken = follower_take(follower, &letter)) != TAKEN_OVERRUN && nothing < 50) {
    nothing = taken == TAKEN_NOTHING ? nothing + 1 : 0; /* a long search answers NOTHING in between */
    if (taken == TAKEN_NOTHING) continue;
    value_auto struct value *v = NULL;
    assert_int_equal(value_from_json(letter.json, letter.size, &v, NULL), 0);
    assert_string_equal(value_get_text(v, "type", ""), letter.type);
    if (out.size) buf_char(&out, ' ');
    buf_text(&out, letter.type);
    if (letter.stored)
      buf_format(&out, "%llu", (unsigned long long)letter.seq);
    else if (strcmp(letter.type, "gap") == 0)
      buf_format(&out, "%lld", (long long)value_get_int(v, "first", -1));
    else
      buf_format(&out, "%g", value_get_number(v, "pct", -1));
    letter_clear(&letter);
  }
  if (taken == TAKEN_OVERRUN) buf_text(&out, out.size ? " overrun" : "overrun");
  return buf_string(&out);
}
