/* A pass module without media: one thread a stage, the runner's half of pass.h put through its paces. */
#include <pthread.h>
#include <stagemill/media.h>
#include <string.h>
#include <unistd.h>

#include "runner/pass.h"

struct work {
  struct pass_context *c;
  int32_t stage;
  pthread_t thread;
  bool runs;
};

static int *volatile nowhere;
static void *crash(void *unused) {
  *nowhere = 1;
  return unused;
}

static void act(struct work *w) {
  struct pass_stage *s = &w->c->stages[w->stage];
  const char *how = sm_param_text(s->task, "crash"), *fail = sm_param_text(s->task, "fail");
  pthread_t below;
  if (how && how[0] == 'h') crash(NULL);
  if (how && how[0] == 'b' && pthread_create(&below, NULL, crash, NULL) == 0) pthread_join(below, NULL);
  s->stage.media->frame(s->task, NULL, 0, NULL);
  atomic_fetch_add(&w->c->page->stages[w->stage].frames, 1);
  sm_status status = SM_OK;
  if (fail && fail[0] == 'r') status = SM_RETRY;
  if (fail && fail[0] == 'f') status = SM_FAIL;
  if (status != SM_OK) w->c->blame(w->c, w->stage, status, "the frames were blue", "not green");
  w->c->log(w->c, w->stage, SM_LOG_INFO, "one frame");
  w->c->verdict(w->c, w->stage, status, NULL);
}

static void *work_thread(void *context) {
  struct work *w = context;
  w->c->thread_for(w->c, w->stage);
  act(w);
  return NULL;
}

static bool is_dropped(const struct value *go, int64_t stage) {
  const struct value *drop = value_get(go, "drop");
  for (size_t i = 0; drop && i < drop->count; i++)
    if (drop->items[i]->integer == stage) return true;
  return false;
}

static sm_status fake_run(struct pass_context *c, struct value *stats) {
  struct work work[UNIT_STAGES_MAX] = {{0}};
  struct error e;
  value_auto struct value *facts = value_map(), *go = NULL;
  uint32_t none = 0;
  int fd = c->source_open(c);
  if (fd < 0) return SM_FAIL;
  close(fd);
  for (uint32_t i = 0; i < c->unit->stage_count; i++)
    if (!c->unit->stages[i].done) c->stages[i].stage.media->open(c->stages[i].task, NULL, 0, NULL, &none, NULL);
  value_set_text(facts, "method", "header");
  enum err err = c->opened(c, facts, &go, &e);
  if (err) return err == ERR_CANCELLED ? SM_CANCELLED : SM_FAIL;
  for (uint32_t i = 0; i < c->unit->stage_count; i++) {
    work[i] = (struct work){.c = c, .stage = (int32_t)i};
    if (c->unit->stages[i].done || is_dropped(go, i)) continue;
    work[i].runs = pthread_create(&work[i].thread, NULL, work_thread, &work[i]) == 0;
  }
  for (uint32_t i = 0; i < c->unit->stage_count; i++)
    if (work[i].runs) pthread_join(work[i].thread, NULL);
  atomic_store(&c->page->decoded_video_frames, 1);
  value_set_int(stats, "decodedVideoFrames", 1);
  return SM_OK;
}

extern SM_EXPORT const struct pass_module stagemill_pass_module;
const SM_EXPORT struct pass_module stagemill_pass_module = {sizeof(struct pass_module), fake_run};
