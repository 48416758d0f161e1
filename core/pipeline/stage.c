#include <string.h>

#include "base/mem.h"
#include "pipeline/build.h"

bool build_id(struct build *b, const struct node *node, const char *what) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-_";
  const char *s = node->text;
  bool good = *s >= 'a' && *s <= 'z' && s[strspn(s, letters)] == 0 && node->size <= BUILD_ID_MAX;
  if (!good)
    node_problem(b->report, PROBLEM_ERROR, node, "it begins with a letter and holds a-z, 0-9, `-` and `_`, at most 63",
                 "`%.100s` cannot be %s", s, what);
  return good;
}

void after_add(struct pipeline_stage *stage, size_t other) {
  size_t at = 0;
  while (at < stage->after_count && stage->after[at] < other) at++;
  if (at < stage->after_count && stage->after[at] == other) return;
  stage->after = mem_grow(stage->after, stage->after_count + 1, sizeof *stage->after);
  memmove(stage->after + at + 1, stage->after + at, (stage->after_count - at) * sizeof *stage->after);
  stage->after[at] = other;
  stage->after_count++;
}

static void need_add(struct pipeline_stage *stage, size_t other) {
  size_t at = 0;
  while (at < stage->needs_count && stage->needs[at] < other) at++;
  if (at < stage->needs_count && stage->needs[at] == other) return;
  stage->needs = mem_grow(stage->needs, stage->needs_count + 1, sizeof *stage->needs);
  memmove(stage->needs + at + 1, stage->needs + at, (stage->needs_count - at) * sizeof *stage->needs);
  stage->needs[at] = other;
  stage->needs_count++;
}

void stage_clear(struct pipeline_stage *stage) {
  free(stage->id);
  free(stage->uses);
  free(stage->title);
  for (size_t i = 0; i < stage->setting_count; i++) setting_free(&stage->settings[i]);
  free(stage->settings);
  expr_free(&stage->condition);
  value_free(&stage->fallback);
  free(stage->bindings);
  free(stage->needs);
  free(stage->after);
}

size_t stage_find_at(struct build *b, const struct node *node, const char *id, size_t self, const char *role) {
  const char *ids[BUILD_STAGES_MAX];
  size_t n = 0;
  for (size_t i = 0; i < b->p->stage_count; i++) {
    if (strcmp(b->p->stages[i].id, id) != 0) {
      if (i != self && *b->p->stages[i].id) ids[n++] = b->p->stages[i].id;
      continue;
    }
    if (i != self) return i;
    node_problem(b->report, PROBLEM_ERROR, node, NULL, "stage `%s` cannot name itself under `%s`", id, role);
    return SIZE_MAX;
  }
  schema_unknown(b->report, node, ids, n, "`%s`: the pipeline has no stage `%.100s`", role, id);
  return SIZE_MAX;
}

/* ---- one stage, first as it stands alone ------------------------------------------------------------------------ */

static void check_id(struct build *b, const struct node *node, size_t self) {
  static const char *const reserved[] = {"source", "job", "params", "secrets", "stages"};
  if (!build_id(b, node, "the id of a stage")) return;
  for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
    if (strcmp(node->text, reserved[i]) == 0)
      node_problem(b->report, PROBLEM_ERROR, node, "`source` is the job's input",
                   "`%s` is reserved and cannot be the id of a stage", node->text);
  for (size_t i = 0; i < self; i++) {
    if (strcmp(b->p->stages[i].id, node->text) != 0) continue;
    const struct node *first = node_get(b->stage_nodes[i], "id");
    mem_auto char *hint = mem_format("the first one stands in %s:%zu", first->file->name, first->line);
    node_problem(b->report, PROBLEM_ERROR, node, hint, "two stages have the id `%s`, and their outputs the same folder",
                 node->text);
  }
}

/* A mistake of the plugin's author that would otherwise show when the stage is about to start. */
static void check_defaults(struct build *b, const struct stage_type *type, const struct node *node) {
  for (size_t i = 0; i < type->param_count; i++) {
    buf_auto struct buf why = {0};
    value_auto struct value *v = NULL;
    if (!literal_default(&type->params[i], &v, &why)) continue;
    mem_auto char *hint =
        mem_format("write `%s` under `with`, and report it to the plugin's author", type->params[i].name);
    node_problem(b->report, PROBLEM_WARNING, node, hint, "the default of `%s` in plugin %s is wrong: %s",
                 type->params[i].name, type->plugin_id ? type->plugin_id : "?", buf_string(&why));
  }
}

static void find_type(struct build *b, struct pipeline_stage *stage, const struct node *node) {
  const char *names[512];
  size_t n = 0;
  stage->type = stage_set_find(b->set, stage->uses);
  if (stage->type) {
    check_defaults(b, stage->type, node);
    return;
  }
  for (; n < stage_set_count(b->set) && n < 512; n++) names[n] = stage_set_at(b->set, n)->name;
  if (n)
    schema_unknown(b->report, node, names, n, "no plugin brings a stage `%.100s`", stage->uses);
  else
    node_problem(b->report, PROBLEM_ERROR, node, "`stagemill plugins` lists what was found and why it was refused",
                 "no plugin brings a stage `%.100s`: none is loaded", stage->uses);
}

static void ignore_expression(void *context, const struct rule *rule, const struct node *node) {
  (void)context, (void)rule, (void)node; /* `if` is checked when all stages are known */
}

static struct value *check_keys(struct build *b, const struct pipeline_stage *stage, const struct node *node) {
  struct schema_place places[KEYS_PLACES_MAX];
  mem_auto char *what = mem_format("stage `%s`", stage->id);
  struct schema schema = {.what = *stage->id ? what : "this stage",
                          .rules = keys_stage,
                          .places = places,
                          .synonyms = keys_synonyms,
                          .expression = ignore_expression};
  struct value *v = NULL;
  schema.place_count = keys_places(KEYS_STAGE, stage->type, places);
  schema_check(&schema, node, node, b->report, &v);
  return v;
}

/* Anything that the table of keys does not report by itself. */
static bool written(const struct node *n) {
  return n && n->kind == NODE_SCALAR && !node_is_empty(n) && !node_has_expression(n);
}

static const char *text_of(const struct node *map, const char *key) {
  const char *text = node_text(map, key);
  return text ? text : "";
}

static void stage_begin(struct build *b, const struct node *node, const struct pipeline_stage *defaults) {
  size_t index = b->p->stage_count;
  struct pipeline_stage *stage = &b->p->stages[b->p->stage_count++];
  b->stage_nodes[index] = node;
  stage->id = mem_text(text_of(node, "id"));
  stage->uses = mem_text(text_of(node, "uses"));
  const struct node *id = node_get(node, "id");
  const struct node *uses = node_get(node, "uses");
  if (written(id)) check_id(b, id, index);
  if (written(uses)) find_type(b, stage, uses);
  value_auto struct value *v = check_keys(b, stage, node);
  stage->title = mem_text(value_get_text(v, "title", NULL));
  policy_build(b, stage, node, v, defaults);
}

/* ---- then what connects it -------------------------------------------------------------------------------------- */

static void needs_build(struct build *b, size_t index) {
  struct pipeline_stage *stage = &b->p->stages[index];
  const struct node *needs = node_get(b->stage_nodes[index], "needs");
  if (!needs || needs->kind == NODE_MAP) return;
  for (size_t i = 0; i < (needs->kind == NODE_LIST ? needs->count : 1); i++) {
    const struct node *node = needs->kind == NODE_LIST ? needs->items[i] : needs;
    if (node->kind != NODE_SCALAR || !node->size) continue;
    size_t other = stage_find_at(b, node, node->text, index, "needs");
    if (other == SIZE_MAX) continue;
    need_add(stage, other);
    after_add(stage, other);
  }
}

static void condition_build(struct build *b, size_t index) {
  struct pipeline_stage *stage = &b->p->stages[index];
  const struct node *node = node_get(b->stage_nodes[index], "if");
  if (!node || node->kind != NODE_SCALAR || node_is_empty(node)) return;
  struct expression_check c = {b, PLACE_IF, index};
  if (!expression_condition(&c, node, &stage->condition)) return;
  /* `if: failure()` would never be asked if the stage ran after successes only. */
  if (stage->when == RUN_ON_SUCCESS && expr_runs_after_failure(stage->condition)) stage->when = RUN_ALWAYS;
}

static const struct node *stage_list(struct build *b) {
  const struct node *stages = node_get(b->root, "stages");
  if (!stages)
    node_problem(b->report, PROBLEM_ERROR, b->root, "stages: a list, `- id: NAME` and `uses: STAGE` in each",
                 "the pipeline lacks `stages`");
  else if (stages->kind == NODE_LIST && !stages->count)
    node_problem(b->report, PROBLEM_ERROR, stages, NULL, "the pipeline has no stages");
  else if (stages->count > BUILD_STAGES_MAX)
    node_problem(b->report, PROBLEM_ERROR, stages, NULL, "more than %d stages", BUILD_STAGES_MAX);
  else if (stages->kind == NODE_LIST)
    return stages;
  return NULL;
}

void stages_build(struct build *b) {
  struct pipeline_stage defaults = {0};
  const struct node *stages = stage_list(b);
  defaults_build(b, &defaults);
  if (!stages) return;
  b->p->stages = mem_array(stages->count + 1, sizeof *b->p->stages);
  b->stage_nodes = mem_array(stages->count + 1, sizeof *b->stage_nodes);
  b->stage_read = mem_array(stages->count + 1, sizeof *b->stage_read);
  for (size_t i = 0; i < stages->count; i++) {
    const struct node *node = stages->items[i];
    if (node->kind == NODE_MAP)
      stage_begin(b, node, &defaults);
    else
      node_problem(b->report, PROBLEM_ERROR, node, "write `- id: NAME` and `uses: STAGE` below it",
                   "a stage is a map, not %s", node_kind_word(node));
  }
  for (size_t i = 0; i < b->p->stage_count; i++) needs_build(b, i);
  for (size_t i = 0; i < b->p->stage_count; i++) {
    condition_build(b, i);
    settings_build(b, i);
    bindings_build(b, i);
  }
}
