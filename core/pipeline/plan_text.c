/* plan_text.c - the forecast for people. */
#include <stagemill/abi.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "pipeline/plan_forecast.h"

struct words { /* "a, b, c" */
  struct buf text;
};

static void words_add(void *context, const char *id) {
  struct words *words = context;
  buf_format(&words->text, "%s%s", words->text.size ? ", " : "", id);
}

/* ---- one stage --------------------------------------------------------------------------------------------------- */

static void text_frames(const struct forecast *f, size_t stage, struct buf *out) {
  struct words to = {0}, from = {0};
  forecast_neighbours(f, stage, true, words_add, &to);
  forecast_neighbours(f, stage, false, words_add, &from);
  if (from.text.size) buf_format(out, "  <- %s", from.text.data);
  if (to.text.size) buf_format(out, "  -> %s", to.text.data);
  if (to.text.size && forecast_passes_of(f, stage) > 1) buf_text(out, "  (runs in every pass that needs it)");
  buf_free(&to.text);
  buf_free(&from.text);
}

static void text_after(const struct forecast *f, size_t stage, struct buf *out) {
  const struct pipeline_stage *s = &f->p->stages[stage];
  struct words words = {0};
  for (size_t i = 0; i < s->after_count; i++)
    if (!(graph_link(&f->graph, stage, s->after[i]) & LINK_FEED)) words_add(&words, f->p->stages[s->after[i]].id);
  if (words.text.size) buf_format(out, "         after %s\n", words.text.data);
  buf_free(&words.text);
}

static void text_condition(const struct forecast *f, size_t stage, bool late, struct buf *out) {
  const struct pipeline_stage *s = &f->p->stages[stage];
  if (s->when == RUN_ALWAYS) buf_text(out, "         always, also after a failure or a cancellation\n");
  if (s->continue_on_error) buf_text(out, "         its failure does not fail the job\n");
  if (s->condition)
    buf_format(out, "         if %s%s\n", expr_text(s->condition),
               late                                      ? "  (decided once the source is open)"
               : gate_is_open_question(&f->state, stage) ? "  (decided when those stages are done)"
                                                         : "  (true)");
  else if (late)
    buf_text(out, "         settings filled in once the source is open\n");
}

static void text_retry(const struct pipeline_stage *s, struct buf *out) {
  char human[32];
  uint32_t attempts = s->retry.attempts;
  if (attempts <= 1) {
    buf_text(out, "one attempt");
  } else {
    buf_format(out, "%u attempts, %s", attempts, s->retry.jitter == JITTER_FULL ? "up to " : "");
    for (uint32_t next = 2; next <= attempts && next <= 5; next++)
      buf_format(out, "%s%s", next > 2 ? ", " : "", clock_human(retry_delay_us(&s->retry, next, 1), human));
    buf_format(out, "%s apart", attempts > 5 ? " ..." : "");
  }
  if (s->timeout_us)
    buf_format(out, "; at most %s each\n", clock_human(s->timeout_us, human));
  else
    buf_text(out, "; as long as it takes\n");
}

static bool same_retry(const struct pipeline_stage *a, const struct pipeline_stage *b) {
  const struct retry_policy *x = &a->retry, *y = &b->retry;
  return x->attempts == y->attempts && x->backoff_us == y->backoff_us && x->max_us == y->max_us &&
         x->factor == y->factor && x->jitter == y->jitter && a->timeout_us == b->timeout_us;
}

/* The policy that most stages share, printed once; the first of equals. */
static const struct pipeline_stage *usual_retry(const struct pipeline *p) {
  const struct pipeline_stage *usual = NULL;
  size_t most = 0;
  for (size_t i = 0; i < p->stage_count; i++) {
    size_t same = 0;
    for (size_t k = 0; k < p->stage_count; k++) same += same_retry(&p->stages[i], &p->stages[k]);
    if (same > most) usual = &p->stages[i];
    if (same > most) most = same;
  }
  return usual;
}

static void text_amount(const char *what, double amount, struct buf *out) {
  if (!strcmp(what, "memory"))
    buf_format(out, " %.0f MB", amount / 1e6);
  else if (amount != 0)
    buf_format(out, " %.3g", amount);
}

static void text_notes(const struct value *list, struct buf *out) {
  for (size_t i = 0; list && list->type == VALUE_LIST && i < list->count; i++) {
    const char *what = value_get_text(list->items[i], "what", "note");
    const char *text = value_get_text(list->items[i], "text", "");
    buf_format(out, "         %-7s%s%s", what, text[0] ? " " : "", text);
    text_amount(what, value_get_number(list->items[i], "amount", 0), out);
    buf_char(out, '\n');
  }
}

static void text_stage(const struct forecast *f, size_t stage, bool late, const struct value *notes, struct buf *out) {
  const struct pipeline_stage *s = &f->p->stages[stage];
  const char *kind = s->type->kind == SM_KIND_FILTER ? "  filter" : "";
  buf_format(out, "       %-12s %-12s%s", s->id, s->uses, kind);
  text_frames(f, stage, out);
  while (out->data[out->size - 1] == ' ') out->size--; /* of a column that is the last one here */
  buf_char(out, '\n');
  text_after(f, stage, out);
  text_condition(f, stage, late, out);
  if (!same_retry(s, usual_retry(f->p))) {
    buf_text(out, "         ");
    text_retry(s, out);
  }
  text_notes(value_get(notes, s->id), out);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void text_unit(const struct forecast *f, size_t number, const struct value *notes, struct buf *out) {
  const struct plan_unit *unit = &f->units[number].unit;
  buf_format(out, "  %2zu. ", number + 1);
  if (!unit->is_pass)
    buf_text(out, "task");
  else if (unit->source_kind == PRODUCER_SOURCE)
    buf_text(out, "pass over the input: one demux, one decode");
  else
    buf_format(out, "pass over `%s.%s`: one demux, one decode", f->p->stages[unit->source_stage].id,
               unit->source_port ? unit->source_port->name : "output");
  bool alone = (number == 0 || f->units[number - 1].wave != f->units[number].wave) &&
               (number + 1 == f->unit_count || f->units[number + 1].wave != f->units[number].wave);
  buf_format(out, "%s\n", alone ? "" : "  (beside others of this step)");
  for (size_t i = 0; i < unit->stage_count; i++) text_stage(f, unit->stages[i], unit->late[i], notes, out);
}

static void text_skips(const struct forecast *f, bool after_failure, const char *head, struct buf *out) {
  bool any = false;
  for (size_t i = 0; i < f->skip_count; i++) {
    const struct pipeline_stage *s = &f->p->stages[f->skips[i].stage];
    if ((s->when == RUN_ON_FAILURE) != after_failure) continue;
    if (!any) buf_format(out, "\n%s:\n", head);
    any = true;
    buf_format(out, "       %-12s %-12s %s\n", s->id, s->uses, after_failure ? "" : f->skips[i].reason);
  }
}

static void text_cuts(const struct forecast *f, struct buf *out) {
  if (f->cut_count) buf_text(out, "\nCut apart:\n");
  for (size_t i = 0; i < f->cut_count; i++)
    buf_format(out, "       %s and %s: %s\n", f->p->stages[f->cuts[i].stage].id, f->p->stages[f->cuts[i].other].id,
               cut_reason_text(f->cuts[i].reason));
}

static void text_results(const struct pipeline *p, struct buf *out) {
  if (!p->result_count) return;
  buf_text(out, "\nResult: ");
  for (size_t i = 0; i < p->result_count; i++) buf_format(out, "%s%s", i ? ", " : "", p->results[i].key);
  buf_char(out, '\n');
}

enum err plan_text(const struct pipeline *p, const struct value *params, const struct value *job,
                   const struct value *notes, struct buf *out, struct error *e) {
  struct forecast f;
  enum err err = forecast_make(&f, p, params, job, e);
  if (!err) {
    buf_format(out, "Pipeline %s: %zu stage%s in %zu attempt%s when all goes well\n\n", p->name, p->stage_count,
               p->stage_count == 1 ? "" : "s", f.unit_count, f.unit_count == 1 ? "" : "s");
    for (size_t i = 0; i < f.unit_count; i++) text_unit(&f, i, notes, out);
    if (p->stage_count) {
      buf_text(out, "\nEach stage, unless said otherwise: ");
      text_retry(usual_retry(p), out);
    }
    text_skips(&f, false, "Not run", out);
    text_skips(&f, true, "Only after a failure", out);
    text_cuts(&f, out);
    text_results(p, out);
  }
  forecast_clear(&f);
  return err;
}
