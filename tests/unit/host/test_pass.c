/* The runner's half of a pass: opening, GO with late parameters and drops, verdicts by stage, who is named after a crash. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "host/catalogue.h"
#include "host/crew.h"

enum { STAGES = 3 };

static struct loop *loop;
static struct catalogue *catalogue;
static struct crew *crew;

struct pass {
  struct attempt *attempt;
  struct value *params[STAGES]; /* moved into the unit */
  bool done[STAGES];
  struct value *go;     /* moved; NULL: cancel instead of answering */
  /* what came */
  bool over, opened_before_results;
  unsigned opened, open_results, drops_seen;
  int64_t n[STAGES];
  enum verdict verdicts[STAGES];
  char messages[STAGES][1024];
  enum attempt_end end;
  struct error error;
  int signal;
  int32_t suspect;
  int64_t frames;
};

static int set_up(void **state) {
  const char *folders[] = {TEST_PLUGINS "/pass"};
  struct error e = {0};
  (void)state;
  struct catalogue_options options = {.runner_path = RUNNER, .folders = folders, .folder_count = 1};
  struct crew_options crew_options = {.runner_path = RUNNER, .pass_module_path = TEST_PLUGINS "/pass-module/fake-pass.so",
                                      .cancel_grace_us = 1000000, .attempt_uid = -1, .attempt_gid = -1};
  if (catalogue_open(&catalogue, &options, &e)) fail_msg("%s", e.message);
  crew_options.catalogue = catalogue;
  if (loop_create(&loop, &clock_system, &e) || crew_create(&crew, loop, &crew_options, &e)) fail_msg("%s", e.message);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  crew_destroy(&crew);
  catalogue_close(&catalogue);
  loop_destroy(&loop);
  return 0;
}

static void on_message(void *context, struct attempt *a, const struct message *m) {
  struct pass *p = context;
  struct error e;
  if (m->type == MESSAGE_RESULT && strcmp(value_get_text(m->body, "key", ""), "n") == 0)
    p->n[m->stage] = value_get_int(m->body, "value", -1);
  if (m->type == MESSAGE_RESULT && !p->opened) p->open_results++;
  if (m->type != MESSAGE_OPENED) return;
  p->opened++;
  if (!p->go) attempt_cancel(a, false);
  else if (attempt_go(a, p->go, &e)) fail_msg("%s", e.message);
}

static void on_ended(void *context, struct attempt *a, const struct attempt_outcome *o) {
  struct pass *p = context;
  (void)a;
  p->over = true;
  p->end = o->end;
  p->error = o->error;
  p->signal = o->signal;
  p->suspect = o->suspect;
  p->frames = value_get_int(o->stats, "decodedVideoFrames", 0);
  for (int i = 0; i < STAGES; i++) {
    p->verdicts[i] = o->verdicts[i].verdict;
    snprintf(p->messages[i], sizeof(p->messages[i]), "%s", o->verdicts[i].message);
  }
}

static struct value *go_with(const char *index, int64_t n, int drop) {
  struct value *go = value_map(), *params = value_map(), *given = value_map(), *list = value_list();
  value_set_int(given, "n", n);
  value_map_set(params, index, given);
  if (drop >= 0) value_list_add(list, value_int(drop));
  value_map_set(go, "params", params);
  value_map_set(go, "drop", list);
  return go;
}

static void run(struct pass *p) {
  static const struct attempt_callbacks callbacks = {.message = on_message, .ended = on_ended};
  const struct stage_type *type = stage_set_find(catalogue_stages(catalogue), "fake-sink");
  char ids[STAGES][2] = {"a", "b", "c"}, folder[] = "/tmp";
  struct unit_stage stages[STAGES] = {{0}};
  struct error e = {0};
  assert_non_null(type);
  for (int i = 0; i < STAGES; i++)
    stages[i] = (struct unit_stage){.id = ids[i], .uses = type->name, .plugin_path = type->plugin_path, .attempt = 1,
                                    .done = p->done[i], .params = p->params[i] ? p->params[i] : value_map(),
                                    .output_path = folder, .scratch_path = folder};
  struct unit_artifact source = {.port = (char[]){"source"}, .name = (char[]){"hostname"}, .path = (char[]){"/etc/hostname"},
                                 .beneath = (char[]){""}, .size_bytes = -1};
  struct unit unit = {.kind = UNIT_PASS, .job = (char[]){"job"}, .pipeline = (char[]){"p"}, .cores = 1, .source = &source,
                      .stages = stages, .stage_count = STAGES};
  fd_auto int fd = open("/etc/hostname", O_RDONLY | O_CLOEXEC);
  struct attempt_start start = {.unit = &unit, .slots = &fd, .slot_count = 1};
  if (crew_start(crew, &start, &callbacks, p, &p->attempt, &e)) fail_msg("%s", e.message);
  for (int i = 0; i < 400 && !p->over; i++) loop_turn(loop, 50000);
  assert_true(p->over);
  for (int i = 0; i < STAGES; i++) value_free(&stages[i].params);
  value_free(&p->go);
}

static struct value *param(const char *key, const char *text) {
  struct value *map = value_map();
  value_set_text(map, key, text);
  return map;
}

static void a_pass_opens_waits_and_runs_what_was_not_dropped(void **state) {
  struct pass p = {.go = go_with("0", 17, 2)};
  (void)state;
  run(&p);
  if (p.end != ATTEMPT_ENDED) fail_msg("%s: %s", attempt_end_word(p.end), p.error.message);
  assert_int_equal(p.opened, 1);
  assert_int_equal(p.open_results, 6); /* width and tracks of each of three, before OPENED */
  assert_int_equal(p.n[0], 17);
  assert_int_equal(p.verdicts[0], VERDICT_OK);
  assert_int_equal(p.verdicts[1], VERDICT_OK);
  assert_int_equal(p.verdicts[2], VERDICT_NONE);
  assert_int_equal(p.frames, 1);
}

static void a_stage_that_had_ended_before_is_left_out(void **state) {
  struct pass p = {.go = go_with("1", 5, -1), .done = {true, false, false}};
  (void)state;
  run(&p);
  assert_int_equal(p.end, ATTEMPT_ENDED);
  assert_int_equal(p.verdicts[0], VERDICT_NONE);
  assert_int_equal(p.verdicts[1], VERDICT_OK);
  assert_int_equal(p.n[1], 5);
}

static void a_fault_the_host_finds_is_that_stages(void **state) {
  struct pass p = {.go = go_with("0", 1, -1), .params = {NULL, param("fail", "retry"), NULL}};
  (void)state;
  run(&p);
  assert_int_equal(p.verdicts[0], VERDICT_OK);
  assert_int_equal(p.verdicts[1], VERDICT_RETRY);
  assert_string_equal(p.messages[1], "the frames were blue");
  assert_int_equal(p.verdicts[2], VERDICT_OK);
}

static void each_sink_that_crashes_is_the_one_named(void **state) {
  static const char *const hows[] = {"here", "below"};
  (void)state;
  for (int how = 0; how < 2; how++)
    for (int32_t i = 0; i < STAGES; i++) {
      struct pass p = {.go = go_with("0", 1, -1)};
      p.params[i] = param("crash", hows[how]);
      run(&p);
      assert_int_equal(p.end, ATTEMPT_CRASHED);
      assert_int_equal(p.signal, SIGSEGV);
      if (p.suspect != i) fail_msg("%s: stage %d crashed, %d was named: %s", hows[how], i, p.suspect, p.error.message);
    }
}

static void a_pass_cancelled_at_its_prologue_ends(void **state) {
  struct pass p = {.go = NULL};
  (void)state;
  run(&p);
  assert_int_equal(p.end, ATTEMPT_CANCELLED);
  assert_int_equal(p.signal, 0);
  assert_int_equal(p.verdicts[0], VERDICT_CANCELLED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_pass_opens_waits_and_runs_what_was_not_dropped),
    cmocka_unit_test(a_stage_that_had_ended_before_is_left_out),
    cmocka_unit_test(a_fault_the_host_finds_is_that_stages),
    cmocka_unit_test(each_sink_that_crashes_is_the_one_named),
    cmocka_unit_test(a_pass_cancelled_at_its_prologue_ends),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
