#include "cli/screen.h"

#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/bars.h"
#include "cli/command.h"
#include "cli/print.h"

enum { SCREEN_STAGES_MAX = 64, SCREEN_LINE_EVERY_US = 5 * 1000 * 1000,
       SCREEN_TROUBLE_EVERY_US = 20 * 1000 * 1000 };

struct screen_stage {
  char *id;
  double fraction; /* < 0: unknown */
  double speed;
  char message[128];
  int64_t item, items, attempt, max_attempts;
  int64_t told_us; /* SCREEN_LINES: last progress line */
};

struct screen {
  enum screen_mode mode;
  struct bars *bars;
  char *output_folder;
  int64_t begun_us, troubled_us;
  double pct;
  int64_t eta_s; /* -1: unknown */
  struct screen_stage stages[SCREEN_STAGES_MAX]; /* active ones */
  size_t count;
};

struct screen *screen_new(enum screen_mode mode, const char *output_folder) {
  struct screen *s = mem_alloc(sizeof *s);
  s->mode = mode;
  s->output_folder = mem_text(output_folder);
  s->begun_us = clock_boot(&clock_system);
  s->eta_s = -1;
  if (mode == SCREEN_BARS) s->bars = bars_new(STDERR_FILENO);
  return s;
}

static void screen_drop(struct screen *s, size_t i) {
  free(s->stages[i].id);
  s->stages[i] = s->stages[--s->count];
}

void screen_free(struct screen **at) {
  struct screen *s = *at;
  if (!s) return;
  bars_free(&s->bars);
  while (s->count) screen_drop(s, 0);
  free(s->output_folder);
  free(s);
  *at = NULL;
}

enum screen_mode screen_detect(void) {
  const char *term = getenv("TERM");
  return isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb") != 0 ? SCREEN_BARS : SCREEN_LINES;
}

void screen_say(struct screen *s, const char *format, ...) {
  char text[2048];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  print_tame(text);
  if (s->mode == SCREEN_QUIET || s->mode == SCREEN_JSON) return;
  if (s->bars)
    bars_print(s->bars, text);
  else
    fprintf(stderr, "[%6.1f s] %s\n", (double)(clock_boot(&clock_system) - s->begun_us) / 1e6, text);
}

/* ---- stages ------------------------------------------------------------------------------------------------------ */

static struct screen_stage *screen_stage(struct screen *s, const char *id, bool make) {
  for (size_t i = 0; i < s->count; i++)
    if (strcmp(s->stages[i].id, id) == 0) return &s->stages[i];
  if (!make || s->count == SCREEN_STAGES_MAX) return NULL;
  struct screen_stage *stage = &s->stages[s->count++];
  memset(stage, 0, sizeof *stage);
  stage->id = mem_text(id);
  stage->fraction = -1;
  return stage;
}

static void screen_forget(struct screen *s, const char *id) {
  for (size_t i = 0; i < s->count; i++)
    if (strcmp(s->stages[i].id, id) == 0) {
      screen_drop(s, i);
      return;
    }
}

/* ---- drawing ----------------------------------------------------------------------------------------------------- */

static void eta_text(int64_t eta_s, char *out, size_t size) {
  out[0] = '\0';
  if (eta_s >= 3600)
    snprintf(out, size, "ETA %d:%02d:%02d", (int)(eta_s / 3600), (int)(eta_s / 60 % 60), (int)(eta_s % 60));
  else if (eta_s >= 0)
    snprintf(out, size, "ETA %d:%02d", (int)(eta_s / 60), (int)(eta_s % 60));
}

static void stage_tail(const struct screen_stage *stage, char *out, size_t size) {
  char speed[24] = "", items[48] = "", attempt[48] = "";
  if (stage->speed > 0) snprintf(speed, sizeof speed, "%.2fx  ", stage->speed);
  if (stage->items > 0) snprintf(items, sizeof items, "%lld of %lld  ", (long long)stage->item, (long long)stage->items);
  if (stage->attempt > 1)
    snprintf(attempt, sizeof attempt, "attempt %lld of %lld  ", (long long)stage->attempt, (long long)stage->max_attempts);
  snprintf(out, size, "%s%s%s%s", speed, items, attempt, stage->message);
}

static void screen_draw(struct screen *s, bool force) {
  char tail[256], eta[32];
  if (!s->bars) return;
  bars_begin(s->bars);
  for (size_t i = 0; i < s->count; i++) {
    stage_tail(&s->stages[i], tail, sizeof tail);
    bars_line(s->bars, s->stages[i].id, s->stages[i].fraction, tail);
  }
  eta_text(s->eta_s, eta, sizeof eta);
  bars_line(s->bars, "total", s->pct / 100, eta);
  if (force)
    bars_force(s->bars);
  else
    bars_draw(s->bars);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

/* Of the job, not of a stage: something keeps it from going on, and goes on keeping it. Said now and then. */
static void screen_trouble(struct screen *s, const struct value *event) {
  int64_t now_us = clock_boot(&clock_system);
  if (s->troubled_us && now_us - s->troubled_us < SCREEN_TROUBLE_EVERY_US) return;
  s->troubled_us = now_us;
  screen_say(s, "%s", value_get_text(event, "message", ""));
}

static void screen_progress(struct screen *s, const struct value *event) {
  const char *id = value_get_text(event, "stage", NULL);
  if (!id) {
    screen_trouble(s, event);
    return;
  }
  struct screen_stage *stage = screen_stage(s, id, true);
  s->pct = value_get_number(event, "pct", s->pct);
  s->eta_s = value_get_int(event, "etaSeconds", -1);
  if (!stage) return;
  stage->fraction = value_get_number(event, "stagePct", -100) / 100;
  stage->speed = value_get_number(event, "speed", 0);
  stage->item = value_get_int(event, "item", 0);
  stage->items = value_get_int(event, "items", 0);
  stage->attempt = value_get_int(event, "attempt", 1);
  stage->max_attempts = value_get_int(event, "maxAttempts", 1);
  snprintf(stage->message, sizeof stage->message, "%s", value_get_text(event, "message", ""));
  int64_t now_us = clock_boot(&clock_system);
  if (s->mode != SCREEN_LINES || now_us - stage->told_us < SCREEN_LINE_EVERY_US) return;
  char tail[256], eta[32];
  stage->told_us = now_us;
  stage_tail(stage, tail, sizeof tail);
  eta_text(s->eta_s, eta, sizeof eta);
  if (stage->fraction >= 0)
    screen_say(s, "%-12s %5.1f %%  %s  (total %.1f %% %s)", stage->id, stage->fraction * 100, tail, s->pct, eta);
  else
    screen_say(s, "%-12s %s  (total %.1f %% %s)", stage->id, tail, s->pct, eta);
}

static void screen_stage_event(struct screen *s, const struct value *event) {
  const char *id = value_get_text(event, "stage", ""), *status = value_get_text(event, "status", "");
  char took[32];
  if (!strcmp(status, "started")) {
    struct screen_stage *stage = screen_stage(s, id, true);
    if (stage) stage->told_us = clock_boot(&clock_system);
    if (stage) snprintf(stage->message, sizeof stage->message, "%s", value_get_text(event, "title", ""));
    if (s->mode == SCREEN_LINES) screen_say(s, "%-12s started: %s", id, value_get_text(event, "title", ""));
    return;
  }
  screen_forget(s, id);
  int64_t files = value_get_int(event, "artifacts", 0);
  if (!strcmp(status, "finished") && files)
    screen_say(s, "%-12s finished in %s, %lld file%s", id,
               clock_human(value_get_int(event, "durationMs", 0) * 1000, took), (long long)files, files == 1 ? "" : "s");
  else if (!strcmp(status, "finished"))
    screen_say(s, "%-12s finished in %s", id, clock_human(value_get_int(event, "durationMs", 0) * 1000, took));
  else if (!strcmp(status, "skipped"))
    screen_say(s, "%-12s skipped: %s", id, value_get_text(event, "reason", ""));
  else
    screen_say(s, "%-12s failed%s: %s", id, value_get_bool(event, "soft", false) ? " (the job goes on)" : "",
               value_get_text(event, "error", ""));
}

static void screen_retrying(struct screen *s, const struct value *event) {
  char delay[32];
  const char *id = value_get_text(event, "stage", "");
  screen_forget(s, id);
  long long failed = (long long)value_get_int(event, "currentAttempt", 0);
  int64_t delay_us = value_get_int(event, "delayMs", 0) * 1000;
  bool free_of_charge = value_get_int(event, "attempt", 0) == failed; /* it had company that may be to blame */
  screen_say(s, "%-12s attempt %lld of %lld failed: %s", id, failed, (long long)value_get_int(event, "maxAttempts", 0),
             value_get_text(event, "error", ""));
  screen_say(s, "%-12s %s %s%s", id, free_of_charge ? "tried again, at no cost," : "next attempt",
             delay_us ? "in " : "at once", delay_us ? clock_human(delay_us, delay) : "");
}

/* Whoever reads us and has stopped must not stop the engine for something that is said again ten times a second. */
static bool screen_has_room(void) {
  struct pollfd out = {STDOUT_FILENO, POLLOUT, 0};
  return poll(&out, 1, 0) != 0;
}

void screen_event(struct screen *s, const struct value *event, const char *json) {
  const char *type = value_get_text(event, "type", "");
  if (s->mode == SCREEN_JSON) {
    if (!strcmp(type, "progress") && !screen_has_room()) return;
    printf("%s\n", json);
    fflush(stdout);
    return;
  }
  if (s->mode == SCREEN_QUIET) return;
  if (!strcmp(type, "progress")) screen_progress(s, event);
  if (!strcmp(type, "stage")) screen_stage_event(s, event);
  if (!strcmp(type, "retrying")) screen_retrying(s, event);
  if (!strcmp(type, "state")) s->pct = value_get_number(event, "pct", 0);
  screen_draw(s, false);
}

static void resumed_list(const struct value *state, bool finished, struct buf *out) {
  const struct value *stages = value_get(state, "stages");
  for (size_t i = 0; stages && i < stages->count; i++) {
    const char *status = value_get_text(stages->items[i], "status", "");
    bool kept = !strcmp(status, "finished") || !strcmp(status, "publishing");
    bool open = !kept && strcmp(status, "skipped") != 0;
    if (finished ? !kept : !open) continue;
    buf_format(out, "%s%s", out->size ? ", " : "", value_get_text(stages->items[i], "id", ""));
  }
}

void screen_resumed(struct screen *s, const struct value *state) {
  struct buf kept = {0}, rest = {0};
  resumed_list(state, true, &kept);
  resumed_list(state, false, &rest);
  screen_say(s, "resuming job %s", value_get_text(state, "jobId", ""));
  if (kept.size) screen_say(s, "kept: %s", buf_string(&kept));
  if (rest.size) screen_say(s, "goes on with: %s", buf_string(&rest));
  s->pct = value_get_number(state, "pct", 0);
  buf_free(&kept);
  buf_free(&rest);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void outcome_result(struct screen *s, const struct value *event) {
  const struct value *result = value_get(event, "result");
  if (s->mode == SCREEN_QUIET || s->mode == SCREEN_JSON) return;
  for (size_t i = 0; result && result->type == VALUE_MAP && i < result->count; i++) {
    struct buf text = {0};
    const struct value *v = result->items[i];
    if (v->type == VALUE_TEXT)
      buf_text(&text, v->text);
    else
      value_json(&text, v, VALUE_JSON_COMPACT);
    if (text.data && isatty(STDOUT_FILENO)) print_tame(text.data);
    printf("%s: %s\n", result->keys[i], buf_string(&text));
    buf_free(&text);
  }
  fflush(stdout);
}

static const char *outcome_error(const struct value *event) {
  const struct value *error = value_get(event, "error");
  if (error && error->type == VALUE_MAP) return value_get_text(error, "message", "");
  return value_get_text(event, "error", "");
}

/* Without an output folder the job is another process's: what helps there is asked for by its id. */
static void outcome_hint(const struct screen *s, const struct value *event) {
  if (s->output_folder)
    fprintf(stderr, "  `stagemill explain last -o %s` says more; the same command tries again\n", s->output_folder);
  else
    fprintf(stderr, "  `stagemill explain %s` says more; `stagemill retry %s` tries again\n",
            value_get_text(event, "jobId", "last"), value_get_text(event, "jobId", "last"));
}

int screen_outcome(struct screen *s, const struct value *event) {
  const char *type = value_get_text(event, "type", ""), *status = value_get_text(event, "status", "");
  const char *end = strcmp(type, "state") == 0 ? status : type;
  const char *stage = value_get_text(event, "stage", value_get_text(value_get(event, "error"), "stage", ""));
  int code = !strcmp(end, "completed") ? CLI_DONE : !strcmp(end, "failed") ? CLI_FAILED : !strcmp(end, "cancelled") ? CLI_CANCELLED : -1;
  if (code < 0) return code;
  bars_free(&s->bars);
  if (code == CLI_DONE) {
    screen_say(s, s->output_folder ? "completed: %s" : "completed", s->output_folder);
    outcome_result(s, event);
  } else if (code == CLI_CANCELLED) {
    screen_say(s, "cancelled");
  } else {
    mem_auto char *error = mem_text(outcome_error(event));
    print_tame(error);
    cli_complain(code, "the job failed%s%s: %s", *stage ? " in stage " : "", stage, error);
    if (s->mode != SCREEN_JSON) outcome_hint(s, event);
  }
  return code;
}
