#include "engine/pause.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/errand.h"
#include "engine/hold.h"
#include "engine/serve.h"

enum { PAUSE_LOOK_US = 60 * 1000 * 1000 /* somebody may set the clock */ };

struct pause {
  struct pause *next;
  char *what, *by;   /* by NULL: nobody said */
  uint64_t pipeline; /* 0: the queue */
  int64_t until_us;
};

/* ---- words ---------------------------------------------------------------------------------------------------------- */

static void until_text(const char *by, int64_t until_us, char *text, size_t size) {
  char at[32];
  snprintf(text, size, "paused%s%s until %s", by ? " by " : "", by ? by : "",
           until_us ? clock_format(until_us, at) : "it is resumed");
}

void pause_text(const struct pause *pause, char *text, size_t size) {
  char until[400];
  until_text(pause->by, pause->until_us, until, sizeof until);
  if (pause->pipeline)
    snprintf(text, size, "pipeline '%s' is %s", pause->what + strlen("pipeline:"), until);
  else
    snprintf(text, size, "the queue is %s", until);
}

void pause_extra_text(const struct value *extra, char *text, size_t size) {
  const struct value *pause = value_get(extra, "pause");
  until_text(value_get_text(pause, "by", NULL), value_get_int(pause, "untilUs", 0), text, size);
}

/* ---- single jobs -------------------------------------------------------------------------------------------------------- */

bool pause_of_extra(const struct engine *engine, const struct value *extra) {
  const struct value *pause = value_get(extra, "pause");
  if (value_is_null(pause)) return false;
  int64_t until_us = value_get_int(pause, "untilUs", 0);
  return !until_us || until_us > clock_wall(loop_clock(engine->loop));
}

bool pause_of_job(const struct engine *engine, const struct job_record *job) {
  value_auto struct value *extra = finish_json(job->extra_json);
  return pause_of_extra(engine, extra);
}

int64_t pause_until_us(const struct job_record *job) {
  value_auto struct value *extra = finish_json(job->extra_json);
  return value_get_int(value_get(extra, "pause"), "untilUs", 0);
}

/* Of a job that is not in memory: its record says it all. */
static void pause_store(struct errand *n, const struct job_record *job, enum job_status status, struct value *extra,
                        const char *reason) {
  struct buf extra_json = {0}, event_json = {0};
  value_auto struct value *body = job_state_body(job, status, reason);
  int64_t until_us = value_get_int(value_get(extra, "pause"), "untilUs", 0);
  char at[32];
  if (until_us) value_set_text(body, "pausedUntil", clock_format(until_us, at));
  value_json(&extra_json, extra, VALUE_JSON_COMPACT);
  value_json(&event_json, body, VALUE_JSON_COMPACT);
  struct job_record values = {.status = status, .wait_reason = (char *)(uintptr_t)reason, .extra_json = extra_json.data};
  struct event_draft event = {"state", event_json.data};
  struct change change = {.job = n->id, .job_fields = JOB_SET_STATUS | JOB_SET_WAIT_REASON | JOB_SET_EXTRA,
                          .job_values = &values, .events = &event, .event_count = status != job->status};
  serve_leave(n->engine, n->id);
  store_change(n->engine->store, &change, errand_stored, n);
  buf_free(&extra_json);
  buf_free(&event_json);
}

static struct value *record_extra(const struct job_record *job) {
  struct value *extra = finish_json(job->extra_json);
  if (extra->type == VALUE_MAP) return extra;
  value_free(&extra);
  return value_map();
}

static void job_pause_begin(struct errand *n) {
  struct job *job;
  struct job_record record = {0};
  if (!errand_target(n, &job, &record)) return;
  if (job) {
    value_map_set(job->extra, "pause", value_copy(n->args));
    struct draft *d = draft_new(job, 0);
    draft_extra(d);
    draft_commit(d, errand_drafted, n);
    return;
  }
  char reason[512];
  value_auto struct value *extra = record_extra(&record);
  value_map_set(extra, "pause", value_copy(n->args));
  pause_extra_text(extra, reason, sizeof reason);
  bool held = record.status == JOB_HELD; /* that it waits for somebody is the stronger word */
  pause_store(n, &record, held ? JOB_HELD : JOB_PAUSED, extra, held ? record.wait_reason : reason);
  job_record_clear(&record);
}

static void job_unpause_begin(struct errand *n) {
  struct job *job;
  struct job_record record = {0};
  if (!errand_target(n, &job, &record)) return;
  if (job) {
    extra_drop(job->extra, "pause");
    struct draft *d = draft_new(job, 0);
    draft_extra(d);
    draft_commit(d, errand_drafted, n);
    return;
  }
  value_auto struct value *extra = record_extra(&record);
  extra_drop(extra, "pause");
  bool goes_on = record.status == JOB_PAUSED || (record.status == JOB_HELD && !hold_is_open(&record));
  pause_store(n, &record, goes_on ? JOB_QUEUED : record.status, extra, goes_on ? "waits for its turn" : record.wait_reason);
  job_record_clear(&record);
}

/* ---- the queue and pipelines ------------------------------------------------------------------------------------------ */

static void pauses_look(void *context);

static bool pause_is_over(const struct engine *engine, const struct pause *p) {
  return p->until_us && p->until_us <= clock_wall(loop_clock(engine->loop));
}

const struct pause *pause_of_queue(const struct engine *engine) { return pause_of_pipeline(engine, 0); }

const struct pause *pause_of_pipeline(const struct engine *engine, uint64_t digest) {
  for (const struct pause *p = engine->pauses; p; p = p->next)
    if (p->pipeline == digest && !pause_is_over(engine, p)) return p;
  return NULL;
}

static void pauses_alarm(struct engine *engine) {
  int64_t now_us = clock_wall(loop_clock(engine->loop)), least_us = PAUSE_LOOK_US;
  bool any = false;
  for (const struct pause *p = engine->pauses; p; p = p->next) {
    if (!p->until_us) continue;
    any = true;
    if (p->until_us - now_us < least_us) least_us = p->until_us - now_us;
  }
  loop_cancel(engine->loop, &engine->pause_alarm);
  if (any) engine->pause_alarm = loop_after(engine->loop, least_us > 0 ? least_us : 0, pauses_look, engine);
}

static void pause_drop(struct engine *engine, const char *what) {
  for (struct pause **at = &engine->pauses; *at; at = &(*at)->next) {
    if (strcmp((*at)->what, what) != 0) continue;
    struct pause *gone = *at;
    *at = gone->next;
    free(gone->what);
    free(gone->by);
    free(gone);
    return;
  }
}

static void pause_add(struct engine *engine, const char *what, const char *by, int64_t until_us) {
  pause_drop(engine, what);
  struct pause *p = mem_alloc(sizeof *p);
  *p = (struct pause){engine->pauses, mem_text(what), mem_text(by), 0, until_us};
  if (!strncmp(what, "pipeline:", 9)) p->pipeline = line_digest(what + 9);
  engine->pauses = p;
}

/* Those whose time is over are forgotten on disk as well; until then they count no more in any case. */
static void pauses_look(void *context) {
  struct engine *engine = context;
  engine->pause_alarm = NULL;
  for (struct pause *p = engine->pauses, *next; p; p = next) {
    next = p->next;
    if (!pause_is_over(engine, p)) continue;
    struct side_record record = {.kind = SIDE_PAUSE, .id = p->what};
    struct side_change change = {.record = &record, .expected_version = SIDE_ANY, .remove = true};
    store_side(engine->store, &change, 1, NULL, NULL);
    pause_drop(engine, p->what);
  }
  pauses_alarm(engine);
  engine_wake_all(engine);
}

enum err pauses_load(struct engine *engine, struct error *e) {
  struct side_filter filter = {.kind = SIDE_PAUSE, .limit = 1000};
  struct side_list list = {0};
  if (store_sides(engine->store, &filter, &list, e)) return e->code;
  for (size_t i = 0; i < list.count; i++) {
    value_auto struct value *body = finish_json(list.items[i].body_json);
    pause_add(engine, list.items[i].id, value_get_text(body, "by", NULL), list.items[i].due_us);
  }
  side_list_clear(&list);
  pauses_alarm(engine);
  return ERR_OK;
}

void pauses_free(struct engine *engine) {
  while (engine->pauses) pause_drop(engine, engine->pauses->what);
}

static void wide_stored(void *context, const struct commit *commit) {
  struct errand *n = context;
  struct engine *engine = n->engine;
  struct error e = commit->error;
  e.code = commit->status;
  bool pauses = value_get_bool(n->args, "pauses", false);
  if (!e.code && pauses)
    pause_add(engine, n->id, value_get_text(n->args, "by", NULL), value_get_int(n->args, "untilUs", 0));
  else if (!e.code)
    pause_drop(engine, n->id);
  if (!engine->closing) {
    pauses_alarm(engine);
    engine_wake_all(engine);
  }
  errand_end(n, &e);
}

static void wide_begin(struct errand *n) {
  struct buf body = {0};
  value_auto struct value *said = value_map();
  value_set_text(said, "by", value_get_text(n->args, "by", NULL));
  value_json(&body, said, VALUE_JSON_COMPACT);
  struct side_record record = {.kind = SIDE_PAUSE, .id = n->id, .due_us = value_get_int(n->args, "untilUs", 0),
                               .body_json = body.data};
  struct side_change change = {.record = &record, .expected_version = SIDE_ANY,
                               .remove = !value_get_bool(n->args, "pauses", false)};
  store_side(n->engine->store, &change, 1, wide_stored, n);
  buf_free(&body);
}

/* ---- the verbs ---------------------------------------------------------------------------------------------------------- */

static bool pause_is_wide(const char *what) { return !strcmp(what, "queue") || !strncmp(what, "pipeline:", 9); }

void engine_pause(struct engine *engine, const char *what, int64_t until_us, const char *by, engine_done *done,
                  void *context) {
  struct value *args = value_map();
  bool wide = pause_is_wide(what);
  if (by) value_map_set(args, "by", value_text_n(by, strnlen(by, 255)));
  if (until_us > 0) value_set_int(args, "untilUs", until_us);
  value_set_int(args, "sinceUs", clock_wall(loop_clock(engine->loop)));
  if (wide) value_set_bool(args, "pauses", true);
  errand_start(engine, what, args, wide ? wide_begin : job_pause_begin, done, context);
}

void engine_unpause(struct engine *engine, const char *what, engine_done *done, void *context) {
  errand_start(engine, what, value_map(), pause_is_wide(what) ? wide_begin : job_unpause_begin, done, context);
}
