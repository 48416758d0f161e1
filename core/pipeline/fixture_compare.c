/* fixture_compare.c - what a case expected beside what happened. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "pipeline/fixture_parts.h"

const char *fixture_status(const struct sim *s) {
  switch (s->end) {
  case PLAN_COMPLETED: return "completed";
  case PLAN_FAILED: return "failed";
  case PLAN_CANCELLED: return "cancelled";
  case PLAN_GOES_ON: break;
  }
  return "unfinished";
}

static void differ(struct value *list, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void differ(struct value *list, const char *format, ...) {
  char text[2048];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  value_list_add(list, value_text(text));
}

static void join(const struct value *list, struct buf *out) {
  for (size_t i = 0; list && i < list->count; i++) {
    if (i) buf_text(out, ", ");
    if (!literal_text(list->items[i], out)) buf_text(out, "?");
  }
  if (!out->size) buf_text(out, "nothing");
}

static void compare_lists(const char *what, const struct value *expected, const struct value *got, struct value *out) {
  if (value_equal(expected, got)) return;
  buf_auto struct buf left = {0}, right = {0};
  join(expected, &left);
  join(got, &right);
  differ(out, "%s\n    expected: %s\n         got: %s", what, left.data, right.data);
}

/* ---- order, sets of stages --------------------------------------------------------------------------------------- */

static struct value *stages_in(const struct sim *s, enum step_state state) {
  struct value *list = value_list();
  for (size_t i = 0; i < s->p->stage_count; i++)
    if (s->stages[i].state == state) value_list_add(list, value_text(s->p->stages[i].id));
  return list;
}

/* One value or a list, as a list. */
static struct value *as_list(const struct value *v) {
  struct value *list = value_list();
  if (v->type == VALUE_LIST) {
    value_free(&list);
    return value_copy(v);
  }
  if (!value_is_null(v)) value_list_add(list, value_copy(v));
  return list;
}

/* Both in the pipeline's order: a set has none. */
static struct value *as_set(const struct sim *s, const struct value *written) {
  value_auto struct value *ids = as_list(written);
  struct value *list = value_list();
  for (size_t i = 0; i < s->p->stage_count; i++)
    for (size_t k = 0; k < ids->count; k++)
      if (ids->items[k]->type == VALUE_TEXT && !strcmp(ids->items[k]->text, s->p->stages[i].id)) {
        value_list_add(list, value_text(s->p->stages[i].id));
        break;
      }
  return list;
}

static void compare_set(const struct sim *s, const char *key, enum step_state state, struct value *out) {
  const struct value *written = value_get(s->c->expected, key);
  if (!written) return;
  value_auto struct value *expected = as_set(s, written), *got = stages_in(s, state);
  compare_lists(key, expected, got, out);
}

/* `skipped` is a list of ids, or a map of id to (a part of) the reason. */
static void compare_skipped(const struct sim *s, struct value *out) {
  const struct node *node = node_get(s->c->expect, "skipped");
  if (!node) return;
  value_auto struct value *ids = value_list(), *expected = NULL, *got = stages_in(s, STEP_SKIPPED);
  for (size_t i = 0; node->kind != NODE_SCALAR && i < node->count; i++) {
    const struct node *id = node->kind == NODE_MAP ? node->entries[i].key : node->items[i];
    value_list_add(ids, value_text(id->text));
  }
  if (node->kind == NODE_SCALAR && node->size) value_list_add(ids, value_text(node->text));
  expected = as_set(s, ids);
  compare_lists("skipped", expected, got, out);
  for (size_t i = 0; node->kind == NODE_MAP && i < node->count; i++) {
    const char *part = node->entries[i].value->text, *id = node->entries[i].key->text;
    size_t stage = pipeline_index(s->p, id);
    const char *reason = stage == SIZE_MAX ? NULL : s->stages[stage].reason;
    if (part && reason && s->stages[stage].state == STEP_SKIPPED && !strstr(reason, part))
      differ(out, "skipped.%s\n    expected: %s\n         got: %s", id, part, reason);
  }
}

/* ---- counts and delays ------------------------------------------------------------------------------------------- */

static void compare_attempts(const struct sim *s, struct value *out) {
  const struct node *node = node_get(s->c->expect, "attempts");
  for (size_t i = 0; node && i < node->count; i++) {
    size_t stage = pipeline_index(s->p, node->entries[i].key->text);
    mem_auto char *got = mem_format("%u", stage == SIZE_MAX ? 0 : s->stages[stage].tries);
    if (strcmp(node->entries[i].value->text, got))
      differ(out, "attempts.%s\n    expected: %s\n         got: %s", node->entries[i].key->text,
             node->entries[i].value->text, got);
  }
}

static struct value *durations(const struct node *node) {
  static const struct rule rule = {.takes = SM_TAKES_DURATION};
  struct value *list = value_list();
  for (size_t i = 0; i < (node->kind == NODE_LIST ? node->count : 1); i++) {
    const struct node *item = node->kind == NODE_LIST ? node->items[i] : node;
    struct value *v = NULL;
    buf_auto struct buf why = {0};
    if (!literal_parse(&rule, item->text ? item->text : "", true, &v, &why)) value_list_add(list, v);
  }
  return list;
}

static void compare_delays(const struct sim *s, struct value *out) {
  const struct node *node = node_get(s->c->expect, "delays");
  for (size_t i = 0; node && i < node->count; i++) {
    size_t stage = pipeline_index(s->p, node->entries[i].key->text);
    if (stage == SIZE_MAX) continue;
    value_auto struct value *expected = durations(node->entries[i].value);
    mem_auto char *what = mem_format("delays.%s", node->entries[i].key->text);
    compare_lists(what, expected, s->stages[stage].delays, out);
  }
}

/* ---- status and result ------------------------------------------------------------------------------------------- */

/* Read as what happened is: `5s` beside a duration, `5` beside a number. */
static bool same_value(const struct node *expected, const struct value *got) {
  if (value_is_null(got)) return node_is_empty(expected);
  if (expected->kind == NODE_LIST && got->type == VALUE_LIST) {
    bool same = expected->count == got->count;
    for (size_t i = 0; same && i < got->count; i++) same = same_value(expected->items[i], got->items[i]);
    return same;
  }
  static const uint32_t takes[] = {
      [VALUE_BOOL] = SM_TAKES_BOOL,         [VALUE_INT] = SM_TAKES_INT,   [VALUE_NUMBER] = SM_TAKES_NUMBER,
      [VALUE_DURATION] = SM_TAKES_DURATION, [VALUE_SIZE] = SM_TAKES_SIZE, [VALUE_BITRATE] = SM_TAKES_BITRATE,
      [VALUE_PERCENT] = SM_TAKES_PERCENT,   [VALUE_TEXT] = SM_TAKES_TEXT, [VALUE_MAP] = 0};
  if (expected->kind != NODE_SCALAR || (size_t)got->type >= sizeof takes / sizeof *takes || !takes[got->type])
    return false;
  if (got->type == VALUE_TEXT) return !strcmp(expected->text, got->text);
  struct rule rule = {.takes = takes[got->type]};
  value_auto struct value *v = NULL;
  buf_auto struct buf why = {0};
  return !literal_parse(&rule, expected->text, true, &v, &why) && value_equal(v, got);
}

static void compare_result(const struct sim *s, struct value *out) {
  const struct node *node = node_get(s->c->expect, "result");
  for (size_t i = 0; node && i < node->count; i++) {
    const char *key = node->entries[i].key->text;
    const struct value *got = value_get(s->result, key);
    if (same_value(node->entries[i].value, got)) continue;
    buf_auto struct buf text = {0};
    const struct node *expected = node->entries[i].value;
    if (value_is_null(got))
      buf_text(&text, "null");
    else
      value_json(&text, got, VALUE_JSON_COMPACT);
    differ(out, "result.%s\n    expected: %s\n         got: %s", key,
           node_is_empty(expected) ? "null"
           : expected->text        ? expected->text
                                   : node_kind_word(expected),
           text.data);
  }
}

static void compare_status(const struct sim *s, struct value *out) {
  const char *expected = value_get_text(s->c->expected, "status", NULL), *got = fixture_status(s);
  bool unexpected = !expected && s->end == PLAN_GOES_ON;
  if (!unexpected && (!expected || !strcmp(expected, got))) return;
  differ(out, "status\n    expected: %s\n         got: %s", expected ? expected : "an end", got);
  for (size_t i = 0; i < s->p->stage_count; i++)
    if (s->stages[i].state == STEP_FAILED)
      differ(out, "`%s` failed: %s", s->p->stages[i].id, s->stages[i].reason ? s->stages[i].reason : "");
}

static void compare_elapsed(const struct sim *s, struct value *out) {
  const struct value *expected = value_get(s->c->expected, "elapsed");
  if (!expected || expected->integer == s->now_us) return;
  buf_auto struct buf left = {0}, right = {0};
  value_auto struct value *got = value_of(VALUE_DURATION, s->now_us, 0);
  literal_text(expected, &left);
  literal_text(got, &right);
  differ(out, "elapsed\n    expected: %s\n         got: %s", left.data, right.data);
}

void fixture_compare(const struct sim *s, struct value *differences) {
  const struct value *written = value_get(s->c->expected, "order");
  value_auto struct value *order = written ? as_list(written) : NULL;
  compare_status(s, differences);
  if (s->error.code) differ(differences, "%s", s->error.message);
  if (order) compare_lists("order", order, s->order, differences);
  compare_skipped(s, differences);
  compare_set(s, "failed", STEP_FAILED, differences);
  compare_set(s, "soft-failed", STEP_SOFT_FAILED, differences);
  compare_set(s, "finished", STEP_FINISHED, differences);
  compare_attempts(s, differences);
  compare_delays(s, differences);
  compare_result(s, differences);
  compare_elapsed(s, differences);
}
