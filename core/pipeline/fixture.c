#include "pipeline/fixture.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "pipeline/build.h"
#include "pipeline/fixture_parts.h"

enum { FILE_BYTES_MAX = 1 << 20, CASES_MAX = 1000 };

/* ---- the language ------------------------------------------------------------------------------------------------ */

static const struct rule keys_file[] = {
    {.key = "stagemill-test",
     .takes = SM_TAKES_INT,
     .flags = SM_REQUIRED,
     .summary = "version of this language: 1"},
    {.key = "pipeline",
     .takes = SM_TAKES_TEXT,
     .flags = SM_REQUIRED,
     .summary = "the pipeline's file, relative to this one"},
    {.key = "cases", .takes = RULE_LIST, .flags = SM_REQUIRED, .summary = "a list of cases: `- name: ...`"},
    {0}};
static const struct rule keys_case[] = {
    {.key = "name", .takes = SM_TAKES_TEXT, .flags = SM_REQUIRED, .summary = "what the case shows"},
    {.key = "input", .takes = SM_TAKES_TEXT, .summary = "what `job.input` is; nothing is read"},
    {.key = "params", .takes = RULE_MAP, .summary = "parameters as `-p` gives them"},
    {.key = "stages", .takes = RULE_MAP, .summary = "what stages answer: a map of ids"},
    {.key = "cancel", .takes = SM_TAKES_DURATION, .max = 365.0 * 86400, .summary = "when the job is cancelled"},
    {.key = "expect", .takes = RULE_MAP, .flags = SM_REQUIRED, .summary = "what has to happen"},
    {0}};
static const struct rule keys_answer[] = {
    {.key = "results", .takes = RULE_MAP, .summary = "the stage's results"},
    {.key = "fail", .takes = SM_TAKES_TEXT, .summary = "it fails with this sentence"},
    {.key = "verdict",
     .takes = SM_TAKES_KEYWORD,
     .choices = "retry|fail|crash",
     .summary = "retry: may be tried again; fail: not; crash: the process died (retry)"},
    {.key = "times", .takes = SM_TAKES_INT, .min = 1, .max = 1000, .summary = "so many attempts fail (all)"},
    {.key = "takes", .takes = SM_TAKES_DURATION, .max = 365.0 * 86400, .summary = "how long an attempt takes (0s)"},
    {.key = "early", .takes = SM_TAKES_BOOL, .summary = "a sink that is done before its pass (false)"},
    {0}};
static const struct rule keys_expect[] = {
    {.key = "status",
     .takes = SM_TAKES_KEYWORD,
     .choices = "completed|failed|cancelled",
     .summary = "how the job ends"},
    {.key = "order",
     .takes = SM_TAKES_TEXT,
     .flags = SM_REPEATED,
     .summary = "every attempt in order; stages of a pass joined by +"},
    {.key = "skipped",
     .takes = SM_TAKES_TEXT | RULE_MAP | RULE_LIST,
     .summary = "ids, or a map of id to a part of the reason"},
    {.key = "failed", .takes = SM_TAKES_TEXT, .flags = SM_REPEATED, .summary = "ids of the stages that failed"},
    {.key = "soft-failed",
     .takes = SM_TAKES_TEXT,
     .flags = SM_REPEATED,
     .summary = "ids of the stages that failed softly"},
    {.key = "finished", .takes = SM_TAKES_TEXT, .flags = SM_REPEATED, .summary = "ids of the stages that finished"},
    {.key = "attempts", .takes = RULE_MAP, .summary = "how often a stage ran: id: number"},
    {.key = "delays", .takes = RULE_MAP, .summary = "its exact delays: id: [2s, 4s]"},
    {.key = "result", .takes = RULE_MAP, .summary = "the job's result, key by key"},
    {.key = "elapsed", .takes = SM_TAKES_DURATION, .max = 365.0 * 86400, .summary = "time from start to end"},
    {0}};

struct file {
  struct tree *tree;
  struct node *root;
  struct report *report;
  struct pipeline *p;
  struct fixture_case *cases;
  size_t count;
};

/* ---- reading a case ---------------------------------------------------------------------------------------------- */

static const struct schema_place places[] = {{.where = "under `expect`", .rules = keys_expect},
                                             {.where = "in a case, under `cases`", .rules = keys_case},
                                             {.where = "in a stage, under `stages`", .rules = keys_answer},
                                             {.where = "at the top of the file", .rules = keys_file}};

static void check(struct file *f, const char *what, const struct rule *rules, const struct node *node,
                  struct value **v) {
  struct schema schema = {.what = what, .rules = rules, .places = places, .place_count = 4};
  schema_check(&schema, node, node, f->report, v);
}

static size_t stage_at(struct file *f, const struct node *id) {
  const char *ids[256];
  size_t count = 0, index = pipeline_index(f->p, id->text);
  for (; count < f->p->stage_count && count < 256; count++) ids[count] = f->p->stages[count].id;
  if (index == SIZE_MAX)
    schema_unknown(f->report, id, ids, count, "pipeline `%s` has no stage `%.100s`", f->p->name, id->text);
  return index;
}

static uint32_t takes_of(uint32_t result_type) {
  switch (result_type) {
  case SM_RESULT_TYPE_INT: return SM_TAKES_INT;
  case SM_RESULT_TYPE_NUMBER: return SM_TAKES_NUMBER | SM_TAKES_INT;
  case SM_RESULT_TYPE_BOOL: return SM_TAKES_BOOL;
  case SM_RESULT_TYPE_DURATION: return SM_TAKES_DURATION;
  default: return SM_TAKES_TEXT;
  }
}

/* Results by the stage's own table; an empty value is null. */
static struct value *read_results(struct file *f, size_t stage, const struct node *node) {
  const struct stage_type *type = f->p->stages[stage].type;
  struct rule rules[257] = {{0}};
  const char *keys[256];
  size_t count = type->result_count < 256 ? type->result_count : 256;
  mem_auto char *what = mem_format("the results of stage `%s`", type->name);
  struct schema schema = {.what = what, .rules = rules};
  struct value *v = value_map();
  for (size_t i = 0; i < count; i++) {
    const struct result_type *r = &type->results[i];
    keys[i] = r->key;
    rules[i] = (struct rule){.key = r->key,
                             .takes = takes_of(r->type),
                             .min = -1e18,
                             .max = 1e18,
                             .flags = r->type == SM_RESULT_TYPE_LIST ? SM_REPEATED : 0,
                             .summary = r->summary};
    if (r->type != SM_RESULT_TYPE_INT && r->type != SM_RESULT_TYPE_NUMBER) rules[i].min = rules[i].max = 0;
  }
  for (size_t asked = settings_asked(f->p, stage, keys + count, 256 - count); asked > 0; asked--, count++)
    rules[count] = (struct rule){.key = keys[count], .takes = SM_TAKES_TEXT, .summary = "what a person answers"};
  for (size_t i = 0; i < node->count; i++) {
    const struct node *key = node->entries[i].key, *item = node->entries[i].value;
    size_t k = 0;
    while (k < count && strcmp(keys[k], key->text)) k++;
    struct value *one = NULL;
    if (k == count) {
      schema_unknown(f->report, key, keys, count, "stage `%s` has no result `%.100s`", type->name, key->text);
      continue;
    }
    if (!node_is_empty(item)) schema_value(&schema, &rules[k], item, f->report, &one);
    value_map_set(v, key->text, one ? one : value_null());
  }
  return v;
}

static void read_answer(struct file *f, struct fixture_case *c, const struct node *key, const struct node *node) {
  size_t stage = stage_at(f, key);
  value_auto struct value *v = NULL;
  if (stage == SIZE_MAX) return;
  if (node->kind != NODE_MAP) {
    node_problem(f->report, PROBLEM_ERROR, node, "write `{ results: {...} }` or `{ fail: \"...\" }`",
                 "what stage `%s` answers is a map, not %s", key->text, node_kind_word(node));
    return;
  }
  mem_auto char *what = mem_format("stage `%s`", key->text);
  check(f, what, keys_answer, node, &v);
  struct fixture_stage *a = &c->stages[stage];
  const char *verdict = value_get_text(v, "verdict", "retry"), *fail = value_get_text(v, "fail", NULL);
  const struct node *results = node_get(node, "results");
  value_free(&a->results);
  free(a->fail);
  a->fail = mem_text(fail);
  a->verdict = !strcmp(verdict, "fail") ? FIXTURE_FAIL : !strcmp(verdict, "crash") ? FIXTURE_CRASH : FIXTURE_RETRY;
  a->times = (uint32_t)value_get_int(v, "times", UINT32_MAX);
  a->takes_us = value_get_int(v, "takes", 0);
  a->early = value_get_bool(v, "early", false);
  if (results && results->kind == NODE_MAP) a->results = read_results(f, stage, results);
  for (size_t i = 0; i < 2 && !fail; i++) {
    const struct node *lost = node_key(node, i ? "times" : "verdict");
    if (lost)
      node_problem(f->report, PROBLEM_ERROR, lost, "write `fail: \"...\"` too",
                   "`%s` without `fail`: the stage succeeds", lost->text);
  }
}

static void read_params(struct file *f, struct fixture_case *c, const struct node *node) {
  value_auto struct value *texts = value_map();
  struct error e = {0};
  for (size_t i = 0; node && node->kind == NODE_MAP && i < node->count; i++) {
    const struct node *item = node->entries[i].value;
    if (item->kind != NODE_SCALAR)
      node_problem(f->report, PROBLEM_ERROR, item, NULL, "a parameter is given as with `-p`: one value, not %s",
                   node_kind_word(item));
    else
      value_set_text(texts, node->entries[i].key->text, item->text);
  }
  const char *folder = f->root->file->folder;
  if (pipeline_params(f->p, texts, folder ? folder : ".", &c->params, &e))
    node_problem(f->report, PROBLEM_ERROR, node ? node : c->node, NULL, "%s", e.message);
}

static void check_ids(struct file *f, const struct node *node) {
  if (!node) return;
  if (node->kind == NODE_SCALAR && node->size) stage_at(f, node);
  for (size_t i = 0; node->kind != NODE_SCALAR && i < node->count; i++) {
    const struct node *id = node->kind == NODE_MAP ? node->entries[i].key : node->items[i];
    if (id->kind == NODE_SCALAR) stage_at(f, id);
  }
}

/* Values under attempts and delays are compared as they are written: they have to be of the right kind here. */
static void check_map(struct file *f, const struct node *map, uint32_t takes, uint32_t flags) {
  struct schema schema = {.what = "what is expected"};
  for (size_t i = 0; map && map->kind == NODE_MAP && i < map->count; i++) {
    struct rule rule = {.key = map->entries[i].key->text, .takes = takes, .flags = flags};
    value_auto struct value *v = NULL;
    schema_value(&schema, &rule, map->entries[i].value, f->report, &v);
  }
}

static void check_reasons(struct file *f, const struct node *map) {
  for (size_t i = 0; map && map->kind == NODE_MAP && i < map->count; i++)
    if (map->entries[i].value->kind != NODE_SCALAR)
      node_problem(f->report, PROBLEM_ERROR, map->entries[i].value, NULL, "the reason is a text, not %s",
                   node_kind_word(map->entries[i].value));
}

static void check_result_keys(struct file *f, const struct node *map) {
  const char *keys[256];
  size_t count = 0;
  for (; count < f->p->result_count && count < 256; count++) keys[count] = f->p->results[count].key;
  for (size_t i = 0; map && map->kind == NODE_MAP && i < map->count; i++) {
    size_t k = 0;
    while (k < count && strcmp(keys[k], map->entries[i].key->text)) k++;
    if (k == count)
      schema_unknown(f->report, map->entries[i].key, keys, count, "the result of pipeline `%s` has no `%.100s`",
                     f->p->name, map->entries[i].key->text);
  }
}

static void read_expect(struct file *f, struct fixture_case *c) {
  static const char *const sets[] = {"skipped", "failed", "soft-failed", "finished", "attempts", "delays"};
  c->expect = node_get(c->node, "expect");
  if (!c->expect || c->expect->kind != NODE_MAP) return;
  check(f, "`expect`", keys_expect, c->expect, &c->expected);
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) check_ids(f, node_get(c->expect, sets[i]));
  check_map(f, node_get(c->expect, "attempts"), SM_TAKES_INT, 0);
  check_map(f, node_get(c->expect, "delays"), SM_TAKES_DURATION, SM_REPEATED);
  check_reasons(f, node_get(c->expect, "skipped"));
  check_result_keys(f, node_get(c->expect, "result"));
}

static void read_case(struct file *f, struct fixture_case *c, const struct node *node) {
  value_auto struct value *v = NULL;
  *c = (struct fixture_case){.node = node, .cancel_us = -1};
  c->stages = mem_array(f->p->stage_count + 1, sizeof *c->stages);
  if (node->kind != NODE_MAP) {
    node_problem(f->report, PROBLEM_ERROR, node, "write `- name: ...`", "a case is a map, not %s",
                 node_kind_word(node));
    return;
  }
  check(f, "a case", keys_case, node, &v);
  c->name = node_text(node, "name");
  c->input = mem_text(value_get_text(v, "input", NULL));
  c->cancel_us = value_get_int(v, "cancel", -1);
  const struct node *stages = node_get(node, "stages");
  for (size_t i = 0; stages && stages->kind == NODE_MAP && i < stages->count; i++)
    read_answer(f, c, stages->entries[i].key, stages->entries[i].value);
  read_params(f, c, node_get(node, "params"));
  read_expect(f, c);
}

static void case_clear(const struct pipeline *p, struct fixture_case *c) {
  for (size_t i = 0; p && c->stages && i < p->stage_count; i++) {
    value_free(&c->stages[i].results);
    free(c->stages[i].fail);
  }
  free(c->stages);
  free(c->input);
  value_free(&c->params);
  value_free(&c->expected);
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static enum err read_pipeline(struct file *f, const char *folder, struct stage_set *stages, struct error *e) {
  const struct node *node = node_get(f->root, "pipeline");
  if (!node || node->kind != NODE_SCALAR || !node->size) return error_set(e, ERR_INVALID, "no pipeline is named");
  mem_auto char *path = fs_absolute(folder, node->text);
  if (access(path, R_OK)) {
    node_problem(f->report, PROBLEM_ERROR, node, "the path is relative to this file", "cannot read the pipeline %s: %s",
                 path, strerror(errno));
    return error_set(e, ERR_NOT_FOUND, "cannot read the pipeline %s", path);
  }
  return pipeline_load(path, stages, f->report, &f->p, e);
}

static enum err read_cases(struct file *f, struct error *e) {
  const struct node *cases = node_get(f->root, "cases");
  f->count = cases && cases->kind == NODE_LIST ? cases->count : 0;
  if (f->count > CASES_MAX) return error_set(e, ERR_TOO_LARGE, "there are more than %d cases", CASES_MAX);
  f->cases = mem_array(f->count + 1, sizeof *f->cases);
  for (size_t i = 0; i < f->count; i++) read_case(f, &f->cases[i], cases->items[i]);
  if (!f->count && cases) node_problem(f->report, PROBLEM_ERROR, cases, "write `- name: ...`", "there are no cases");
  return report_errors(f->report) ? error_set(e, ERR_INVALID, "the fixtures have problems") : ERR_OK;
}

static enum err read_file(struct file *f, const char *path, struct stage_set *stages, struct error *e) {
  buf_auto struct buf text = {0};
  enum err err = fs_read_file(path, FILE_BYTES_MAX, &text, e);
  if (err) return err;
  mem_auto char *absolute = fs_absolute(NULL, path);
  mem_auto char *folder = mem_text_n(absolute, (size_t)(fs_base_name(absolute) - absolute));
  err = tree_parse(f->tree, buf_string(&text), text.size, path, folder, f->report, &f->root);
  if (err) return err;
  if (f->root->kind != NODE_MAP) {
    node_problem(f->report, PROBLEM_ERROR, f->root, "begin with `stagemill-test: 1`", "a fixture file is a map, not %s",
                 node_kind_word(f->root));
    return error_set(e, ERR_INVALID, "%s is no fixture file", path);
  }
  if (node_get(f->root, "stagemill") && !node_get(f->root, "stagemill-test")) {
    node_problem(f->report, PROBLEM_ERROR, f->root, "name a fixture file: it begins with `stagemill-test: 1`",
                 "this is a pipeline, not its fixtures");
    return error_set(e, ERR_INVALID, "%s is no fixture file", path);
  }
  check(f, "a fixture file", keys_file, f->root, NULL);
  const struct node *version = node_get(f->root, "stagemill-test");
  if (version && version->kind == NODE_SCALAR && !node_is_empty(version) && strcmp(version->text, "1") != 0)
    node_problem(f->report, PROBLEM_ERROR, version, "write `stagemill-test: 1`, or use a newer stagemill",
                 "version `%.40s` of the language of fixtures is not known here", version->text);
  err = read_pipeline(f, folder, stages, e);
  return err ? err : read_cases(f, e);
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static void say_case(const struct fixture_case *c, const struct value *differences, struct buf *out) {
  buf_format(out, "%s  %s\n", differences->count ? "FAIL" : "ok  ", c->name);
  for (size_t i = 0; i < differences->count; i++) buf_format(out, "  %s\n", differences->items[i]->text);
}

static void run_case(const struct file *f, const struct fixture_case *c, struct buf *out, struct fixture_result *r) {
  struct sim sim;
  struct value *v = value_map(), *differences = value_list();
  sim_play(&sim, f->p, c);
  fixture_compare(&sim, differences);
  say_case(c, differences, out);
  r->cases++;
  r->failed += differences->count > 0;
  value_set_text(v, "name", c->name);
  value_set_bool(v, "ok", !differences->count);
  value_set_text(v, "status", fixture_status(&sim));
  value_map_set(v, "order", value_copy(sim.order));
  value_map_set(v, "differences", differences);
  value_list_add(r->cases_json, v);
  sim_clear(&sim);
}

enum err fixture_run(const char *path, struct stage_set *stages, struct report *report, struct buf *out,
                     struct fixture_result *result, struct error *e) {
  struct file f = {.tree = tree_new(NULL), .report = report};
  *result = (struct fixture_result){.cases_json = value_list()};
  enum err err = read_file(&f, path, stages, e);
  for (size_t i = 0; i < f.count && !err; i++) run_case(&f, &f.cases[i], out, result);
  for (size_t i = 0; i < f.count; i++) case_clear(f.p, &f.cases[i]);
  free(f.cases);
  pipeline_free(&f.p);
  tree_free(&f.tree);
  return err;
}
