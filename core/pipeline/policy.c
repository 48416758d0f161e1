/* Retry, time limits, and switches that contradict one another. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "pipeline/build.h"

int64_t retry_delay_us(const struct retry_policy *policy, uint32_t next, double random01) {
  if (next < 2) return 0;
  double delay = (double)policy->backoff_us * pow(policy->factor, (double)(next - 2));
  if (!(delay < (double)policy->max_us)) delay = (double)policy->max_us;
  if (policy->jitter == JITTER_FULL) delay *= random01 < 0 ? 0 : random01 > 1 ? 1 : random01;
  return delay < 9e18 ? (int64_t)llround(delay) : INT64_MAX;
}

static int64_t duration(const struct value *map, const char *key, int64_t otherwise) {
  return value_get_int(map, key, otherwise);
}

/* The first key beside `attempts`: with a single attempt it says how to wait for what never comes. */
static const struct node *pointless(const struct node *retry) {
  for (size_t i = 0; i < retry->count; i++)
    if (strcmp(retry->entries[i].key->text, "attempts") != 0) return retry->entries[i].key;
  return NULL;
}

static void retry_build(struct build *b, const struct node *retry, struct retry_policy *policy, const char *what) {
  struct schema_place places[KEYS_PLACES_MAX];
  mem_auto char *name = mem_format("`retry` of %s", what);
  struct schema schema = {.what = name, .rules = keys_retry, .places = places};
  schema.place_count = keys_places(KEYS_RETRY, NULL, places);
  value_auto struct value *v = NULL;
  size_t before = report_errors(b->report);
  schema_check(&schema, retry, retry, b->report, &v);
  if (report_errors(b->report) != before) return;
  policy->attempts = (uint32_t)value_get_int(v, "attempts", policy->attempts);
  policy->backoff_us = duration(v, "backoff", policy->backoff_us);
  policy->max_us = duration(v, "max", policy->max_us);
  policy->factor = value_get_number(v, "factor", policy->factor);
  const char *jitter = value_get_text(v, "jitter", NULL);
  if (jitter) policy->jitter = strcmp(jitter, "full") == 0 ? JITTER_FULL : JITTER_NONE;
  const struct node *key = policy->attempts == 1 ? pointless(retry) : NULL;
  if (key)
    node_problem(b->report, PROBLEM_ERROR, key, "write `attempts: 2` or more, or remove the other keys",
                 "%s has one attempt: there is nothing to retry, and `%s` means nothing", what, key->text);
  if (node_get(retry, "max") && policy->max_us < policy->backoff_us)
    node_problem(b->report, PROBLEM_ERROR, node_get(retry, "max"), "raise `max` or lower `backoff`",
                 "`max` of %s is shorter than `backoff`", name);
}

void defaults_build(struct build *b, struct pipeline_stage *d) {
  d->retry = (struct retry_policy){
      .attempts = 4, .backoff_us = 2000000, .max_us = 300000000, .factor = 2, .jitter = JITTER_NONE};
  d->timeout_us = INT64_C(6) * 3600 * 1000000;
  d->stall_us = INT64_C(300) * 1000000;
  const struct node *node = node_get(b->root, "defaults");
  if (!node || node->kind != NODE_MAP) return;
  struct schema_place places[KEYS_PLACES_MAX];
  struct schema schema = {.what = "`defaults`", .rules = keys_defaults, .places = places};
  schema.place_count = keys_places(KEYS_DEFAULTS, NULL, places);
  value_auto struct value *v = NULL;
  schema_check(&schema, node, node, b->report, &v);
  d->timeout_us = duration(v, "timeout", d->timeout_us);
  d->stall_us = duration(v, "stall", d->stall_us);
  const struct node *retry = node_get(node, "retry");
  if (retry && retry->kind == NODE_MAP) retry_build(b, retry, &d->retry, "`defaults`");
}

static void fallback_build(struct build *b, struct pipeline_stage *stage, const struct node *map) {
  mem_auto char *what = mem_format("`fallback` of stage `%s`", stage->id);
  static const uint32_t takes[] = {
      [SM_RESULT_TYPE_TEXT] = SM_TAKES_TEXT,         [SM_RESULT_TYPE_INT] = SM_TAKES_INT,
      [SM_RESULT_TYPE_NUMBER] = SM_TAKES_NUMBER,     [SM_RESULT_TYPE_BOOL] = SM_TAKES_BOOL,
      [SM_RESULT_TYPE_DURATION] = SM_TAKES_DURATION, [SM_RESULT_TYPE_LIST] = SM_TAKES_TEXT};
  const char *keys[256];
  size_t count = stage->type->result_count < 256 ? stage->type->result_count : 256;
  for (size_t i = 0; i < count; i++) keys[i] = stage->type->results[i].key;
  stage->fallback = value_map();
  for (size_t i = 0; i < map->count; i++) {
    const struct node *key = map->entries[i].key, *node = map->entries[i].value;
    const struct result_type *result = stage_type_result(stage->type, key->text);
    if (!result) {
      schema_unknown(b->report, key, keys, count, "stage `%s` (%s) has no result `%.100s`", stage->id, stage->uses,
                     key->text);
      continue;
    }
    struct rule rule = {.key = key->text, .takes = takes[result->type % 7], .summary = result->summary};
    if (result->type == SM_RESULT_TYPE_LIST) rule.flags = SM_REPEATED;
    struct schema schema = {.what = what, .expression = NULL};
    struct value *v = NULL;
    if (node_is_empty(node))
      v = value_null();
    else
      schema_value(&schema, &rule, node, b->report, &v);
    if (v) value_map_set(stage->fallback, key->text, v);
  }
}

/* `always: true` together with `on-failure: true` and the like: one of them is a mistake. */
static void check_switches(struct build *b, struct pipeline_stage *stage, const struct node *node, bool always,
                           bool on_failure) {
  const struct node *fallback = node_key(node, "fallback");
  if (always && on_failure)
    node_problem(b->report, PROBLEM_ERROR, node_key(node, "on-failure"), "remove one of the two",
                 "stage `%s` has both `always` and `on-failure`", stage->id);
  if (fallback && !stage->continue_on_error)
    node_problem(b->report, PROBLEM_ERROR, fallback, "write `continue-on-error: true` beside it",
                 "stage `%s` has a `fallback` but its failure fails the job", stage->id);
}

void policy_build(struct build *b, struct pipeline_stage *stage, const struct node *node, const struct value *v,
                  const struct pipeline_stage *defaults) {
  mem_auto char *what = mem_format("stage `%s`", stage->id);
  const struct node *retry = node_get(node, "retry"), *fallback = node_get(node, "fallback");
  bool person = stage->type && stage_type_can(stage->type, "person");
  stage->retry = defaults->retry;
  if (retry && retry->kind == NODE_MAP) retry_build(b, retry, &stage->retry, what);
  if (person) stage->retry.attempts = 1; /* asked once, for as long as it takes */
  stage->timeout_us = duration(v, "timeout", person ? 0 : defaults->timeout_us);
  stage->stall_us = duration(v, "stall", defaults->stall_us);
  stage->continue_on_error = value_get_bool(v, "continue-on-error", false);
  stage->isolate = value_get_bool(v, "isolate", false);
  stage->weight = value_get_number(v, "weight", 0);
  bool always = value_get_bool(v, "always", false), on_failure = value_get_bool(v, "on-failure", false);
  stage->when = always ? RUN_ALWAYS : on_failure ? RUN_ON_FAILURE : RUN_ON_SUCCESS;
  check_switches(b, stage, node, always, on_failure);
  if (fallback && fallback->kind == NODE_MAP && stage->type) fallback_build(b, stage, fallback);
}
