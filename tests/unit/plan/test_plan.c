/* What the planner starts, keeps back, skips and says, as tables of pipelines and the line it answers (see world.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka.h wants the three above */
#include <cmocka.h>

#include "base/mem.h"
#include "world.h"

struct row {
  const char *proves;
  const char *stages;
  const char *params;   /* JSON or NULL */
  const char *states;   /* "a=finished b=failed", or NULL */
  const char *expected; /* world_plan() */
};

static enum step_state state_of(const char *word) {
  static const struct {
    const char *word;
    enum step_state state;
  } words[] = {{"waiting", STEP_WAITING},   {"delayed", STEP_DELAYED},    {"running", STEP_RUNNING},
               {"finished", STEP_FINISHED}, {"skipped", STEP_SKIPPED},    {"failed", STEP_FAILED},
               {"soft", STEP_SOFT_FAILED},  {"cancelled", STEP_CANCELLED}};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (!strcmp(words[i].word, word)) return words[i].state;
  fail_msg("no state %s", word);
  return STEP_WAITING;
}

/* "a=finished b=suspect c=apart ! " where ! cancels the job */
static void set_states(struct world *w, const char *states) {
  mem_auto char *copy = mem_text(states ? states : "");
  char *rest = NULL;
  for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
    char *equals = strchr(word, '=');
    if (!strcmp(word, "!")) w->cancelled = true;
    if (!equals) continue;
    *equals = 0;
    size_t index = pipeline_index(w->p, word);
    if (index == SIZE_MAX) fail_msg("no stage %s", word);
    if (!strcmp(equals + 1, "suspect"))
      w->steps[index].suspect = true;
    else if (!strcmp(equals + 1, "apart"))
      w->steps[index].apart = true;
    else
      w->steps[index].state = state_of(equals + 1);
  }
}

typedef char *answer_fn(struct world *w);

static void run_rows(const struct row *rows, size_t count, answer_fn *answer) {
  size_t wrong = 0;
  for (size_t i = 0; i < count; i++) {
    struct world w;
    world_open(&w, rows[i].stages, rows[i].params);
    set_states(&w, rows[i].states);
    mem_auto char *got = answer(&w);
    if (strcmp(got, rows[i].expected)) {
      print_error("%s\n  expected: %s\n       got: %s\n", rows[i].proves, rows[i].expected, got);
      wrong++;
    }
    world_close(&w);
  }
  assert_int_equal(wrong, 0);
}
#define RUN(rows, answer) run_rows(rows, sizeof rows / sizeof *rows, answer)

/* ---- fusion ------------------------------------------------------------------------------------------------------ */

#define VOD                                                                                                            \
  "{ id: info, uses: look }\n{ id: poster, uses: snap }\n{ id: brand, uses: paint }\n{ id: stream, uses: pack }\n"     \
  "{ id: publish, uses: send, needs: [stream, poster], if: \"params.on && stages.info.seconds > 1s\" }"

static void media_stages_of_one_source_share_a_pass(void **unused) {
  (void)unused;
  static const struct row rows[] = {
      {"tasks and the pass start side by side", VOD, NULL, NULL, "task(info) pass(poster brand stream)"},
      {"a filter alone is not a pass: it is not needed", "{ id: brand, uses: paint }", NULL, NULL,
       "skip(brand: no stage is left that takes its frames)"},
      {"sound and picture of one source share a pass", "{ id: a, uses: hear }\n{ id: b, uses: snap }", NULL, NULL,
       "pass(a b)"},
      {"a stage that stands in for the input feeds the pass",
       "{ id: grab, uses: grab }\n{ id: a, uses: snap }\n{ id: b, uses: pack }", NULL, "grab=finished",
       "pass[grab.file](a b)"},
      {"nothing of the pass starts before its source is there", "{ id: grab, uses: grab }\n{ id: a, uses: snap }", NULL,
       NULL, "task(grab)"},
      {"different sources make different passes",
       "{ id: a, uses: snap }\n{ id: grab, uses: grab }\n{ id: b, uses: snap, inputs: { video: grab.file } }", NULL,
       "grab=finished", "pass(a) pass[grab.file](b) | cut(b/a: they read different sources)"},
      {"a finished sink leaves the pass, the filter stays for the other", VOD, NULL, "info=finished poster=finished",
       "pass(brand stream)"},
      {"a filter that no unfinished sink needs stays out",
       "{ id: brand, uses: paint }\n{ id: a, uses: snap }\n{ id: b, uses: snap, inputs: { video: source } }", NULL,
       "a=finished", "pass(b) | settled(brand)"},
      {"chained filters ride with their sink", "{ id: f, uses: paint }\n{ id: g, uses: scale }\n{ id: a, uses: snap }",
       NULL, NULL, "pass(f g a)"},
  };
  RUN(rows, world_plan);
}

static void what_cannot_share_an_attempt_is_cut_with_the_reason(void **unused) {
  (void)unused;
  static const struct row rows[] = {
      {"isolate", "{ id: a, uses: snap }\n{ id: b, uses: snap, isolate: true }", NULL, NULL,
       "pass(a) pass(b) | cut(b/a: one of them is isolated)"},
      {"an isolated filter takes its sinks with it",
       "{ id: a, uses: snap }\n{ id: f, uses: paint, isolate: true }\n{ id: b, uses: snap }\n{ id: c, uses: pack }",
       NULL, NULL, "pass(a) pass(f b c) | cut(b/a: one of them is isolated)"},
      {"written time-outs that differ", "{ id: a, uses: snap, timeout: 5m }\n{ id: b, uses: snap, timeout: 7m }", NULL,
       NULL, "pass(a) pass(b) | cut(b/a: different time-outs)"},
      {"one written time-out does not cut", "{ id: a, uses: snap, timeout: 5m }\n{ id: b, uses: snap }", NULL, NULL,
       "pass(a b)"},
      {"equal time-outs do not cut", "{ id: a, uses: snap, timeout: 5m }\n{ id: b, uses: snap, timeout: 5m }", NULL,
       NULL, "pass(a b)"},
      {"retry policies do not cut",
       "{ id: a, uses: snap, retry: { attempts: 1 } }\n{ id: b, uses: snap, retry: { attempts: 9, backoff: 1m } }",
       NULL, NULL, "pass(a b)"},
      {"a result of the end cuts before its reader",
       "{ id: a, uses: gauge }\n{ id: b, uses: snap, with: { text: \"${{ stages.a.level }}\" } }", NULL, NULL,
       "pass(a) | cut(b/a: it reads results that the other has at its end)"},
      {"so it does in a condition", "{ id: a, uses: gauge }\n{ id: b, uses: snap, if: stages.a.level > 3 }", NULL, NULL,
       "pass(a) | cut(b/a: it reads results that the other has at its end)"},
      {"needs cuts", "{ id: a, uses: snap }\n{ id: b, uses: gauge, needs: a }", NULL, NULL,
       "pass(a) | cut(b/a: it needs the other to be over)"},
      {"also through a task",
       "{ id: a, uses: snap }\n{ id: t, uses: send, needs: a }\n{ id: b, uses: gauge, needs: t }", NULL, NULL,
       "pass(a) | cut(b/t: it needs the other to be over)"},
      {"a status cuts", "{ id: a, uses: snap }\n{ id: b, uses: gauge, if: stages.a.status == 'finished' }", NULL, NULL,
       "pass(a) | cut(b/a: its condition or settings depend on how the other ends)"},
      {"a pass that has begun takes nobody in",
       "{ id: t, uses: tell }\n{ id: a, uses: snap }\n{ id: b, uses: gauge, needs: t }", NULL, "t=finished a=running",
       "pass(b) | cut(b/a: the other's pass had begun)"},
      {"a suspect runs alone with its filters", VOD, NULL, "info=finished stream=suspect",
       "pass(poster) pass(brand stream) | cut(stream/poster: one of them is suspected of a crash and runs alone)"},
      {"a suspect filter takes its sinks with it", VOD, NULL, "info=finished brand=suspect",
       "pass(poster) pass(brand stream) | cut(stream/poster: one of them is suspected of a crash and runs alone)"},
      {"a dropped sink gets a pass of its own", VOD, NULL, "info=finished poster=apart",
       "pass(poster) pass(brand stream) | cut(stream/poster: one of them left its pass and runs alone)"},
  };
  RUN(rows, world_plan);
}

static void a_filter_of_two_passes_runs_in_one_after_the_other(void **unused) {
  (void)unused;
  static const char stages[] = "{ id: f, uses: paint }\n{ id: a, uses: snap }\n{ id: b, uses: pack, isolate: true }";
  static const struct row rows[] = {
      {"the second waits", stages, NULL, NULL, "pass(f a) | cut(b/a: one of them is isolated)"},
      {"while the first runs it still waits", stages, NULL, "f=running a=running",
       "cut(b/a: the other's pass had begun)"},
      {"then it runs the filter again", stages, NULL, "a=finished", "pass(f b)"},
      {"a filter recorded as finished is run again for a sink that is left", stages, NULL, "f=finished a=finished",
       "pass(f b)"},
      {"with its last sink the filter is settled", stages, NULL, "a=finished b=finished", "settled(f)"},
  };
  RUN(rows, world_plan);
}

static void delays_hold_the_whole_pass_but_not_those_apart(void **unused) {
  (void)unused;
  static const struct row rows[] = {
      {"the pass waits for the stage that backs off", VOD, NULL, "info=finished stream=delayed", ""},
      {"a filter that backs off holds its pass", VOD, NULL, "info=finished brand=delayed poster=finished", ""},
      {"an apart stage that backs off holds nobody", VOD, NULL, "info=finished poster=apart poster=delayed",
       "pass(brand stream) | cut(stream/poster: one of them left its pass and runs alone)"},
      {"tasks go on meanwhile", "{ id: a, uses: snap }\n{ id: t, uses: tell }", NULL, "a=delayed", "task(t)"},
  };
  RUN(rows, world_plan);
}

static void a_pass_is_kept_back_for_a_stage_that_waits_for_tasks_alone(void **unused) {
  (void)unused;
  static const char stages[] = "{ id: info, uses: look }\n{ id: a, uses: snap }\n"
                               "{ id: b, uses: pack, with: { text: \"${{ stages.info.codec }}\" } }";
  static const struct row rows[] = {
      {"one decode: a waits with b", stages, NULL, NULL, "task(info)"},
      {"also while the task runs", stages, NULL, "info=running", ""},
      {"then both start", stages, NULL, "info=finished", "pass(a b)"},
      {"a task that backs off is not waited for", stages, NULL, "info=delayed",
       "pass(a) | cut(b/a: what it waits for backs off)"},
      {"an isolated stage is not waited for",
       "{ id: info, uses: look }\n{ id: a, uses: snap }\n{ id: b, uses: pack, needs: info, isolate: true }", NULL, NULL,
       "task(info) pass(a)"},
      {"a stage that waits for another pass is not waited for",
       "{ id: x, uses: snap, isolate: true }\n{ id: a, uses: snap }\n{ id: b, uses: gauge, needs: x }", NULL,
       "x=running", "pass(a) | cut(b/x: it needs the other to be over) | cut(a/x: the other's pass had begun)"},
      {"two that would wait for each other's tasks do not",
       "{ id: a, uses: snap }\n{ id: t, uses: send, needs: a }\n{ id: grab, uses: grab }\n"
       "{ id: c, uses: snap, inputs: { video: grab.file } }\n{ id: u, uses: send, needs: c }\n"
       "{ id: b, uses: gauge, needs: u, inputs: { video: source } }\n"
       "{ id: d, uses: gauge, needs: t, inputs: { video: grab.file } }",
       NULL, "grab=finished", "pass(a) pass[grab.file](c) | cut(c/a: they read different sources)"},
  };
  RUN(rows, world_plan);
}

static void a_full_pass_is_split(void **unused) {
  (void)unused;
  buf_auto struct buf stages = {0};
  for (int i = 0; i < PLAN_PASS_MAX + 3; i++) buf_format(&stages, "{ id: s%d, uses: snap }\n", i);
  struct world w;
  world_open(&w, stages.data, NULL);
  struct plan plan;
  struct error e = {0};
  struct plan_state state = world_state(&w);
  assert_int_equal(plan_next(&state, &plan, &e), ERR_OK);
  assert_int_equal(plan.ready_count, 2);
  assert_int_equal(plan.ready[0].stage_count, PLAN_PASS_MAX);
  assert_int_equal(plan.ready[1].stage_count, 3);
  assert_int_equal(plan.cuts[0].reason, CUT_SIZE);
  plan_clear(&plan);
  world_close(&w);
}

/* ---- skips ------------------------------------------------------------------------------------------------------- */

static void skips_and_failures_travel_as_the_rules_say(void **unused) {
  (void)unused;
  static const struct row rows[] = {
      {"if false", "{ id: t, uses: tell, if: params.on }", NULL, NULL, "skip(t: if: params.on is false)"},
      {"if true", "{ id: t, uses: tell, if: params.on }", "{\"on\": \"true\"}", NULL, "task(t)"},
      {"skips travel along needs in one go",
       "{ id: a, uses: tell, if: params.on }\n{ id: b, uses: tell, needs: a }\n{ id: c, uses: tell, needs: b }", NULL,
       NULL,
       "skip(a: if: params.on is false) | skip(b: needs `a`, which was skipped) | skip(c: needs `b`, which was "
       "skipped)"},
      {"a mere reader of results is not skipped",
       "{ id: a, uses: look, if: params.on }\n{ id: b, uses: tell, with: { text: \"${{ stages.a.codec ?? 'x' }}\" } }",
       NULL, "a=skipped", "task(b)"},
      {"one of several producers is enough",
       "{ id: a, uses: snap, if: params.on }\n{ id: b, uses: pack }\n{ id: t, uses: send, needs: [a, b] }", NULL,
       "a=skipped b=finished", "task(t)"},
      {"none of them is not", "{ id: a, uses: snap, if: params.on }\n{ id: t, uses: send, needs: [a] }", NULL,
       "a=skipped", "skip(t: nothing arrives at its input `files`: stage `a` was skipped)"},
      {"a soft failure leaves data readers without data",
       "{ id: a, uses: snap, continue-on-error: true }\n{ id: t, uses: send, needs: [a] }", NULL, "a=soft",
       "skip(t: nothing arrives at its input `files`: stage `a` failed softly)"},
      {"a soft failure counts as done for those who only wait",
       "{ id: a, uses: tell, continue-on-error: true }\n{ id: t, uses: tell, needs: a }", NULL, "a=soft", "task(t)"},
      {"a failure skips what hangs on it, and nothing else",
       "{ id: a, uses: tell }\n{ id: b, uses: tell, needs: a }\n{ id: c, uses: tell }", NULL, "a=failed",
       "task(c) | skip(b: stage `a` failed)"},
      {"also through expressions, and on from there",
       "{ id: a, uses: look }\n{ id: b, uses: tell, with: { text: \"${{ stages.a.codec }}\" } }\n"
       "{ id: c, uses: tell, needs: b }",
       NULL, "a=failed", "skip(b: stage `a` failed) | skip(c: stage `b` was skipped after a failure)"},
      {"a failure before a condition: the failure is the reason",
       "{ id: a, uses: tell }\n{ id: b, uses: tell, needs: a, if: params.on }", NULL, "a=failed",
       "skip(b: stage `a` failed)"},
      {"a filter skipped by its condition is stepped over when it has a bypass",
       "{ id: f, uses: paint, if: params.on }\n{ id: a, uses: snap }", NULL, NULL,
       "pass(a) | skip(f: if: params.on is false)"},
      {"and takes its sinks with it when it has none", "{ id: f, uses: scale, if: params.on }\n{ id: a, uses: snap }",
       NULL, NULL,
       "skip(f: if: params.on is false) | skip(a: nothing arrives at its input `video`: stage `f` was skipped)"},
      {"a filter that failed softly likewise", "{ id: f, uses: paint, continue-on-error: true }\n{ id: a, uses: snap }",
       NULL, "f=soft", "pass(a)"},
      {"a filter that failed takes its sinks with it", "{ id: f, uses: paint }\n{ id: a, uses: snap }", NULL,
       "f=failed", "skip(a: stage `f` failed)"},
      {"a filter without sinks left is skipped", "{ id: f, uses: paint }\n{ id: a, uses: snap, if: params.on }", NULL,
       NULL, "skip(a: if: params.on is false) | skip(f: no stage is left that takes its frames)"},
      {"a filter waits for its picture, and the sink with it",
       "{ id: d, uses: draw }\n{ id: f, uses: stamp }\n{ id: a, uses: snap }", NULL, NULL, "task(d)"},
      {"a stamp without its picture is stepped over",
       "{ id: d, uses: draw, if: params.on }\n{ id: f, uses: stamp }\n{ id: a, uses: snap }", NULL, NULL,
       "pass(a) | skip(d: if: params.on is false) | "
       "skip(f: nothing arrives at its input `image`: stage `d` was skipped)"},
      {"a source that is skipped leaves no frames", "{ id: grab, uses: grab, if: params.on }\n{ id: a, uses: snap }",
       NULL, NULL,
       "skip(grab: if: params.on is false) | skip(a: nothing arrives at its input `video`: stage `grab` was skipped)"},
  };
  RUN(rows, world_plan);
}

static void always_and_on_failure_work_as_in_a_workflow(void **unused) {
  (void)unused;
  static const char stages[] =
      "{ id: a, uses: tell }\n{ id: b, uses: tell, needs: a }\n{ id: clean, uses: tell, always: true }\n"
      "{ id: alarm, uses: tell, on-failure: true }\n{ id: c, uses: tell, needs: b, always: true }";
  static const struct row rows[] = {
      {"without anything to wait for they wait for all others", stages, NULL, "a=finished b=running", ""},
      {"but not for those that wait for them",
       "{ id: a, uses: tell, always: true }\n{ id: b, uses: tell, needs: a }\n{ id: c, uses: tell }", NULL, NULL,
       "task(a) task(c)"},
      {"a chain of them comes last as a whole",
       "{ id: a, uses: tell, on-failure: true }\n{ id: b, uses: tell, needs: a, on-failure: true }\n"
       "{ id: c, uses: tell }",
       NULL, "c=running", ""},
      {"no failure", stages, NULL, "a=finished b=finished",
       "task(clean) task(c) | skip(alarm: on-failure: no stage failed)"},
      {"a failure", stages, NULL, "a=failed", "task(clean) task(alarm) task(c) | skip(b: stage `a` failed)"},
      {"on-failure with needs hears of its ancestors only",
       "{ id: a, uses: tell }\n{ id: b, uses: tell }\n{ id: x, uses: tell, needs: b, on-failure: true }", NULL,
       "a=failed b=finished", "skip(x: on-failure: nothing it waits for failed)"},
      {"through skipped stages too",
       "{ id: a, uses: tell }\n{ id: b, uses: tell, needs: a }\n{ id: x, uses: tell, needs: b, on-failure: true }",
       NULL, "a=failed b=skipped", "task(x)"},
      {"the job has failed all the same", stages, NULL, "a=failed b=skipped clean=finished alarm=finished c=finished",
       "end failed a"},
      {"if: failure() decides alone", "{ id: a, uses: tell }\n{ id: x, uses: tell, needs: a, if: failure() }", NULL,
       "a=failed", "task(x)"},
      {"and is false without one", "{ id: a, uses: tell }\n{ id: x, uses: tell, needs: a, if: failure() }", NULL,
       "a=finished", "skip(x: if: failure() is false)"},
      {"cancelled: nothing moves while something is still ending", stages, NULL, "a=running !", ""},
      {"cancelled: only always may start", stages, NULL, "a=cancelled !",
       "task(clean) task(c) | skip(b: the job was cancelled) | skip(alarm: the job was cancelled)"},
      {"cancelled: what backs off does not come back", "{ id: a, uses: tell }", NULL, "a=delayed !",
       "skip(a: the job was cancelled)"},
  };
  RUN(rows, world_plan);
}

/* ---- ends -------------------------------------------------------------------------------------------------------- */

static void the_end_is_told(void **unused) {
  (void)unused;
  static const char two[] = "{ id: a, uses: tell }\n{ id: b, uses: tell }";
  static const struct row rows[] = {
      {"completed", two, NULL, "a=finished b=finished", "end completed"},
      {"skips and soft failures complete",
       "{ id: a, uses: tell, continue-on-error: true }\n{ id: b, uses: tell, if: params.on }", NULL, "a=soft b=skipped",
       "end completed"},
      {"failed, naming the first", two, NULL, "a=failed b=failed", "end failed a"},
      {"not while another runs", two, NULL, "a=failed b=running", ""},
      {"not while another backs off", two, NULL, "a=failed b=delayed", ""},
      {"cancelled wins over finished", two, NULL, "a=finished b=finished !", "end cancelled"},
      {"cancelled wins over failed", two, NULL, "a=failed b=cancelled !", "end cancelled"},
      {"stages that wait for each other through a pass end with a sentence",
       "{ id: f, uses: paint }\n{ id: g, uses: grab, if: stages.f.status == 'finished' }\n"
       "{ id: p, uses: pack, inputs: { video: f, audio: g } }",
       NULL, NULL, "bad f: stage `f` can never start: it has filters that never start, and that waits for it in turn"},
      {"frames of two sources cannot meet in one pass",
       "{ id: f, uses: paint }\n{ id: g, uses: grab }\n{ id: p, uses: pack, inputs: { video: f, audio: g } }", NULL,
       "g=finished",
       "bad p: stage `p` takes frames of two different sources: one pass reads one source; give it inputs of one"},
      {"the same with one source",
       "{ id: f, uses: paint }\n{ id: t, uses: tell, needs: f }\n{ id: p, uses: snap, needs: t }", NULL, NULL,
       "bad f: stage `f` can never start: it has filters that never start, and that waits for it in turn"},
      {"an expression that cannot be evaluated fails its stage",
       "{ id: a, uses: look }\n{ id: b, uses: tell, if: 1 / length(params.to) > 1 }", NULL, "a=finished",
       "bad b: stage `b`, if: ${{ 1 / length(params.to) > 1 }}: division by zero"},
  };
  RUN(rows, world_plan);
}

/* ---- late stages ------------------------------------------------------------------------------------------------- */

static void readers_of_open_results_are_decided_in_the_prologue(void **unused) {
  (void)unused;
  static const struct row rows[] = {
      {"in the same pass, late", "{ id: a, uses: gauge }\n{ id: b, uses: snap, if: stages.a.height > 100 }", NULL, NULL,
       "pass(a b~)"},
      {"also for settings", "{ id: a, uses: gauge }\n{ id: b, uses: snap, with: { text: \"${{ stages.a.height }}\" } }",
       NULL, NULL, "pass(a b~)"},
      {"a late filter makes its sink late only by itself",
       "{ id: a, uses: gauge }\n{ id: f, uses: paint, if: stages.a.height > 100 }\n{ id: b, uses: snap }", NULL, NULL,
       "pass(a f~ b)"},
      {"a sink may read its own filter's results",
       "{ id: f, uses: scale }\n{ id: b, uses: snap, with: { text: \"${{ stages.f.factor }}\" } }", NULL, NULL,
       "pass(f b~)"},
      {"once the other is over nothing is late",
       "{ id: a, uses: gauge }\n{ id: b, uses: snap, with: { text: \"${{ stages.a.height }}\" } }", NULL, "a=finished",
       "pass(b)"},
      {"a late stage cannot tell another in the prologue",
       "{ id: a, uses: gauge }\n{ id: b, uses: pack, with: { text: \"${{ stages.a.height }}\" } }\n"
       "{ id: c, uses: snap, with: { text: \"${{ stages.b.rungs }}\" } }",
       NULL, NULL, "pass(a b~) | cut(c/b: its condition or settings depend on how the other ends)"},
      {"apart from each other the reader waits",
       "{ id: a, uses: gauge, isolate: true }\n{ id: b, uses: snap, with: { text: \"${{ stages.a.height }}\" } }", NULL,
       NULL, "pass(a) | cut(b/a: one of them is isolated)"},
      {"a task waits for the end in any case",
       "{ id: a, uses: gauge }\n{ id: t, uses: tell, with: { text: \"${{ stages.a.height }}\" } }", NULL, NULL,
       "pass(a)"},
      {"needs beside it makes the reader wait",
       "{ id: a, uses: gauge }\n{ id: b, uses: snap, needs: a, with: { text: \"${{ stages.a.height }}\" } }", NULL,
       NULL, "pass(a) | cut(b/a: it needs the other to be over)"},
  };
  RUN(rows, world_plan);
}

static void the_prologue_drops_what_its_condition_excludes(void **unused) {
  (void)unused;
  static const struct {
    const char *stages, *results, *expected;
  } rows[] = {
      {"{ id: a, uses: gauge }\n{ id: b, uses: snap, if: stages.a.height > 100 }", "{\"height\": 240}", ""},
      {"{ id: a, uses: gauge }\n{ id: b, uses: snap, if: stages.a.height > 100 }", "{\"height\": 40}",
       "-b: if: stages.a.height > 100 is false"},
      {"{ id: a, uses: gauge }\n{ id: f, uses: scale }\n{ id: b, uses: snap, if: stages.a.height > 100 }",
       "{\"height\": 40}", "-f -b: if: stages.a.height > 100 is false"},
      {"{ id: a, uses: gauge }\n{ id: f, uses: paint, if: stages.a.height > 100 }\n{ id: b, uses: snap }",
       "{\"height\": 40}", "-f: if: stages.a.height > 100 is false"},
      {"{ id: a, uses: gauge }\n{ id: f, uses: scale, if: stages.a.height > 100 }\n{ id: b, uses: snap }",
       "{\"height\": 40}", "-f: if: stages.a.height > 100 is false -b: nothing arrives from `f`, which was skipped"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct world w;
    world_open(&w, rows[i].stages, NULL);
    world_results(&w, "a", rows[i].results);
    mem_auto char *got = world_prologue(&w, "a");
    assert_string_equal(got, rows[i].expected);
    world_close(&w);
  }
}

static void frames_step_over_filters_that_are_gone(void **unused) {
  (void)unused;
  struct world w;
  world_open(&w, "{ id: f, uses: scale }\n{ id: g, uses: paint }\n{ id: a, uses: snap }", NULL);
  struct plan_state state = world_state(&w);
  const struct binding *b = &w.p->stages[2].bindings[0];
  const struct port_type *output = NULL;
  bool drop[3] = {false, true, false};
  assert_int_equal(plan_feed(&state, b, NULL, &output), 1);
  assert_string_equal(output->name, "video");
  assert_int_equal(plan_feed(&state, b, drop, &output), 0);
  world_set(&w, "g", STEP_SKIPPED);
  assert_int_equal(plan_feed(&state, b, NULL, &output), 0);
  world_close(&w);
}

/* ---- the whole course, waits, weights ---------------------------------------------------------------------------- */

static void a_whole_job_runs_to_its_end(void **unused) {
  (void)unused;
  static const struct row rows[] = {
      {"vod without a target", VOD, NULL, NULL,
       "task(info) pass(poster brand stream) | skip(publish: if: params.on && stages.info.seconds > 1s is false) | "
       "settled(brand) | end completed"},
      {"a filter used by two passes",
       "{ id: f, uses: paint }\n{ id: a, uses: snap }\n{ id: b, uses: pack, isolate: true }", NULL, NULL,
       "pass(f a) | cut(b/a: one of them is isolated) pass(f b) | settled(f) | end completed"},
  };
  RUN(rows, world_course);
}

static void every_stage_that_waits_says_why(void **unused) {
  (void)unused;
  static const struct row rows[] = {
      {"needs", "{ id: a, uses: tell }\n{ id: b, uses: tell, needs: a }", NULL, "a=running", "b: waits for `a`"},
      {"kept back", "{ id: info, uses: look }\n{ id: a, uses: snap }\n{ id: b, uses: pack, needs: info }", NULL, NULL,
       "a: kept back to share one decode with `b` | b: waits for `info`"},
      {"not kept back for a person", "{ id: ok, uses: wait }\n{ id: a, uses: snap }\n{ id: b, uses: pack, needs: ok }", NULL,
       NULL, "b: waits for `ok`"},
      {"a pass that backs off", "{ id: a, uses: snap }\n{ id: b, uses: gauge }", NULL, "a=delayed",
       "b: shares a pass with `a`, which waits for its next attempt"},
      {"a filter that runs elsewhere",
       "{ id: f, uses: paint }\n{ id: a, uses: snap }\n{ id: b, uses: pack, isolate: true }", NULL,
       "f=running a=running", "b: needs the filter `f`, which runs in another pass"},
      {"a filter that waits", "{ id: d, uses: draw }\n{ id: f, uses: stamp }\n{ id: a, uses: snap }", NULL, NULL,
       "a: waits for its filter `f` | f: waits for `d`"},
  };
  RUN(rows, world_waits);
}

static void weights_add_up_and_written_ones_count(void **unused) {
  (void)unused;
  struct world w;
  double weights[4];
  world_open(&w,
             "{ id: t, uses: tell }\n{ id: f, uses: paint }\n{ id: a, uses: snap }\n{ id: b, uses: pack, weight: 29 }",
             NULL);
  plan_weights(w.p, weights);
  assert_true(weights[0] == 1 / 40.0 && weights[1] == 0 && weights[2] == 10 / 40.0 && weights[3] == 29 / 40.0);
  world_close(&w);
}

static void text_json_and_diff_say_what_is_planned(void **unused) {
  (void)unused;
  struct world w, old;
  struct error e = {0};
  buf_auto struct buf text = {0}, json = {0}, diff = {0}, same = {0};
  value_auto struct value *v = NULL;
  world_open(&w, VOD, "{\"on\": \"true\"}");
  world_open(
      &old,
      "{ id: info, uses: look }\n{ id: poster, uses: snap, isolate: true }\n{ id: stream, uses: pack, timeout: 7m }",
      NULL);
  assert_int_equal(plan_text(w.p, w.params, w.job, NULL, &text, &e), ERR_OK);
  assert_non_null(strstr(text.data, "pass over the input: one demux, one decode"));
  assert_non_null(strstr(text.data, "if params.on && stages.info.seconds > 1s  (decided when those stages are done)"));
  assert_non_null(strstr(text.data, "4 attempts, 2 s, 4 s, 8 s apart"));
  assert_int_equal(plan_json(w.p, w.params, w.job, NULL, &json, &e), ERR_OK);
  assert_int_equal(value_from_json(json.data, json.size, &v, &e), ERR_OK);
  assert_string_equal(value_get_text(value_path(v, "steps.1.stages.1"), "id", ""), "brand");
  assert_string_equal(value_get_text(value_path(v, "steps.1"), "kind", ""), "pass");
  assert_int_equal(plan_diff(old.p, w.p, &diff, &e), ERR_OK);
  assert_non_null(strstr(diff.data, "Stage brand: new (paint)"));
  assert_non_null(strstr(diff.data, "Stage poster:\n    isolate: true (removed)"));
  assert_non_null(strstr(diff.data, "stream: with nobody -> with poster, brand"));
  assert_int_equal(plan_diff(w.p, w.p, &same, &e), ERR_OK);
  assert_string_equal(same.data, "No difference.\n");
  world_close(&w);
  world_close(&old);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(media_stages_of_one_source_share_a_pass),
      cmocka_unit_test(what_cannot_share_an_attempt_is_cut_with_the_reason),
      cmocka_unit_test(a_filter_of_two_passes_runs_in_one_after_the_other),
      cmocka_unit_test(delays_hold_the_whole_pass_but_not_those_apart),
      cmocka_unit_test(a_pass_is_kept_back_for_a_stage_that_waits_for_tasks_alone),
      cmocka_unit_test(a_full_pass_is_split),
      cmocka_unit_test(skips_and_failures_travel_as_the_rules_say),
      cmocka_unit_test(always_and_on_failure_work_as_in_a_workflow),
      cmocka_unit_test(the_end_is_told),
      cmocka_unit_test(readers_of_open_results_are_decided_in_the_prologue),
      cmocka_unit_test(the_prologue_drops_what_its_condition_excludes),
      cmocka_unit_test(frames_step_over_filters_that_are_gone),
      cmocka_unit_test(a_whole_job_runs_to_its_end),
      cmocka_unit_test(every_stage_that_waits_says_why),
      cmocka_unit_test(weights_add_up_and_written_ones_count),
      cmocka_unit_test(text_json_and_diff_say_what_is_planned),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
