#include "pipeline/pipeline.h"

#include <ctype.h>
#include <string.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/mem.h"
#include "pipeline/build.h"
#include "pipeline/expr_parts.h"

enum { FILE_BYTES_MAX = 1 << 20, RESULTS_MAX = 256 };

/* ---- the pipeline's own keys ------------------------------------------------------------------------------------ */

static void header_build(struct build *b) {
  struct pipeline *p = b->p;
  const struct node *version = node_get(b->root, "stagemill"), *name = node_get(b->root, "name");
  if (version && version->kind == NODE_SCALAR && strcmp(version->text, "1") != 0)
    node_problem(b->report, PROBLEM_ERROR, version, "write `stagemill: 1`, or use a newer stagemill",
                 "version `%.40s` of the pipeline language is not known here", version->text);
  if (name && name->kind == NODE_SCALAR && !node_is_empty(name)) {
    const char *s = name->text;
    bool good = isalnum((unsigned char)*s) && name->size <= BUILD_ID_MAX;
    for (; *s; s++) good &= isalnum((unsigned char)*s) || strchr("-_.", *s);
    if (!good)
      node_problem(b->report, PROBLEM_ERROR, name,
                   "letters, digits, `-`, `_` and `.`, at most 63: it becomes a folder; use `title` for people",
                   "`%.100s` cannot be the name of a pipeline", name->text);
  }
  p->name = mem_text(node_text(b->root, "name"));
  p->title = mem_text(node_text(b->root, "title"));
}

static void priority_build(struct build *b) {
  const struct node *node = node_get(b->root, "priority");
  b->p->priority = 50;
  if (!node || node->kind != NODE_SCALAR) return;
  const char *s = node->text;
  if (strcmp(s, "high") == 0)
    b->p->priority = 75;
  else if (strcmp(s, "low") == 0)
    b->p->priority = 25;
  else if (isdigit((unsigned char)*s))
    b->p->priority = atoi(s);
}

static void timeout_build(struct build *b) {
  const struct rule rule = {.takes = SM_TAKES_DURATION};
  const char *text = node_text(b->root, "timeout");
  struct value *v = NULL;
  buf_auto struct buf why = {0};
  if (text && !literal_parse(&rule, text, true, &v, &why)) b->p->timeout_us = v->integer;
  value_free(&v);
}

static void concurrency_build(struct build *b) {
  const struct node *node = node_get(b->root, "concurrency"), *group = node;
  struct schema_place places[KEYS_PLACES_MAX];
  struct schema schema = {.what = "`concurrency`", .rules = keys_concurrency, .places = places};
  if (!node || node->kind == NODE_LIST) return;
  if (node->kind == NODE_MAP) {
    value_auto struct value *v = NULL;
    schema.place_count = keys_places(KEYS_CONCURRENCY, NULL, places);
    schema_check(&schema, node, node, b->report, &v);
    b->p->cancel_in_progress = value_get_bool(v, "cancel-in-progress", false);
    group = node_get(node, "group");
  }
  type_set types;
  struct expression_check c = {b, PLACE_GROUP, SIZE_MAX};
  if (group && group->kind == NODE_SCALAR && group->size)
    expression_template(&c, group, &b->p->concurrency_group, &types);
}

static void results_build(struct build *b) {
  const struct node *node = node_get(b->root, "result");
  struct expression_check c = {b, PLACE_RESULT, SIZE_MAX};
  if (!node || node->kind != NODE_MAP) return;
  b->p->results = mem_array(node->count + 1, sizeof *b->p->results);
  for (size_t i = 0; i < node->count && i < RESULTS_MAX; i++) {
    const struct node *key = node->entries[i].key, *value = node->entries[i].value;
    struct template *t;
    type_set types;
    if (value->kind != NODE_SCALAR || node_is_empty(value)) {
      node_problem(b->report, PROBLEM_ERROR, value, "write `${{ stages.ID.RESULT }}`",
                   "`%.100s` of `result` is an expression or a text, not %s", key->text, node_kind_word(value));
      continue;
    }
    if (!expression_template(&c, value, &t, &types)) continue;
    b->p->results[b->p->result_count++] = (struct pipeline_result){mem_text(key->text), t};
  }
}

/* ---- loading ---------------------------------------------------------------------------------------------------- */

static void build_all(struct build *b) {
  header_build(b);
  priority_build(b);
  timeout_build(b);
  params_build(b);
  stages_build(b);
  concurrency_build(b);
  notify_build(b);
  results_build(b);
  graph_check(b);
}

static void pin(struct build *b) {
  buf_auto struct buf text = {0};
  pin_text(b->root, &text);
  digest_of(text.data, text.size, b->p->digest);
  b->p->pinned = buf_take(&text);
}

static enum err first_error(const struct report *report, const char *name, struct error *e) {
  for (size_t i = 0; i < report_count(report); i++) {
    const struct problem *p = report_at(report, i);
    if (p->level != PROBLEM_ERROR) continue;
    size_t errors = report_errors(report);
    mem_auto char *more = errors > 1 ? mem_format(" (and %zu more)", errors - 1) : mem_text("");
    return error_set(e, ERR_INVALID, "%s:%zu:%zu: %s%s", p->file ? p->file : name, p->line, p->column, p->message,
                     more);
  }
  return error_set(e, ERR_INVALID, "%s cannot be used", name);
}

struct source { /* what is parsed */
  const char *text;
  size_t size;
  const char *name, *folder, *path; /* folder, path: NULL when it is no file */
  const char *front;                /* NULL: none */
};

static enum err parse(const struct source *from, struct stage_set *stages, struct report *report, struct pipeline **out,
                      struct error *e) {
  struct build b = {.tree = tree_new(NULL), .report = report, .set = stages, .front = from->front, .p = mem_alloc(sizeof *b.p)};
  size_t before = report_errors(report);
  b.p->stage_set = stage_set_ref(stages);
  b.p->file = mem_text(from->name);
  *out = NULL;
  if (include_load(&b, from->text, from->size, from->name, from->folder, from->path)) build_all(&b);
  bool good = report_errors(report) == before;
  if (good) pin(&b);
  free(b.stage_nodes);
  free(b.param_used);
  free(b.stage_read);
  tree_free(&b.tree);
  if (good) return *out = b.p, ERR_OK;
  pipeline_free(&b.p);
  return first_error(report, from->name, e);
}

enum err pipeline_parse(const char *text, size_t size, const char *name, const char *folder, struct stage_set *stages,
                        struct report *report, struct pipeline **pipeline, struct error *e) {
  mem_auto char *absolute = folder ? fs_absolute(NULL, folder) : NULL;
  return parse(&(struct source){text, size, name, absolute, NULL, NULL}, stages, report, pipeline, e);
}

enum err pipeline_fronted(const struct pipeline *p, const char *front, struct report *report, struct pipeline **fronted,
                          struct error *e) {
  struct source from = {.text = p->pinned, .size = strlen(p->pinned), .name = p->file, .front = front};
  return parse(&from, p->stage_set, report, fronted, e);
}

enum err pipeline_load(const char *path, struct stage_set *stages, struct report *report, struct pipeline **pipeline,
                       struct error *e) {
  buf_auto struct buf text = {0};
  mem_auto char *absolute = fs_absolute(NULL, path);
  char *slash = strrchr(absolute, '/');
  mem_auto char *folder = slash && slash > absolute ? mem_text_n(absolute, (size_t)(slash - absolute)) : mem_text("/");
  *pipeline = NULL;
  struct error why = {0};
  enum err err = fs_read_file(path, FILE_BYTES_MAX, &text, &why);
  if (!err)
    return parse(&(struct source){buf_string(&text), text.size, path, folder, absolute, NULL}, stages, report, pipeline, e);
  report_add(report, PROBLEM_ERROR, path, 0, 0, 0, NULL, NULL, "%s", why.message);
  if (e) *e = why;
  return err;
}

void pipeline_free(struct pipeline **address) {
  struct pipeline *p = *address;
  if (!p) return;
  for (size_t i = 0; i < p->param_count; i++) {
    struct param_type *type = p->params[i].type;
    for (size_t c = 0; c < type->choice_count; c++) free(type->choices[c]);
    free(type->choices);
    free(type->name);
    free(type->summary);
    free(type->unit);
    free(type);
    free(p->params[i].name);
    value_free(&p->params[i].fallback);
  }
  for (size_t i = 0; i < p->stage_count; i++) stage_clear(&p->stages[i]);
  for (size_t i = 0; i < p->result_count; i++) {
    free(p->results[i].key);
    template_free(&p->results[i].value);
  }
  free(p->params);
  free(p->stages);
  free(p->results);
  template_free(&p->concurrency_group);
  value_free(&p->notify);
  free(p->name);
  free(p->title);
  free(p->file);
  free(p->pinned);
  stage_set_unref(&p->stage_set);
  free(p);
  *address = NULL;
}

/* ---- the job's input -------------------------------------------------------------------------------------------- */

static bool stage_reads_input(const struct pipeline_stage *stage) {
  for (size_t b = 0; b < stage->binding_count; b++) {
    const struct binding *binding = &stage->bindings[b];
    if (binding->kind == PRODUCER_SOURCE && !(binding->port->flags & SM_PORT_OPTIONAL)) return true;
    if (binding->kind == PRODUCER_SOURCE && binding->port->kind != SM_PORT_ARTIFACT) return true;
  }
  return false;
}

bool pipeline_reads_input(const struct pipeline *p) {
  for (size_t i = 0; i < p->stage_count; i++)
    if (stage_reads_input(&p->stages[i])) return true;
  return false;
}

/* ---- asking ----------------------------------------------------------------------------------------------------- */

size_t pipeline_index(const struct pipeline *p, const char *id) {
  for (size_t i = 0; i < p->stage_count; i++)
    if (strcmp(p->stages[i].id, id) == 0) return i;
  return SIZE_MAX;
}

const struct pipeline_stage *pipeline_find(const struct pipeline *p, const char *id) {
  size_t index = pipeline_index(p, id);
  return index == SIZE_MAX ? NULL : &p->stages[index];
}

enum err pipeline_result(const struct pipeline *p, const struct scope *scope, struct value **result, struct error *e) {
  struct value *all = value_map();
  enum err err = ERR_OK;
  for (size_t i = 0; i < p->result_count && !err; i++) {
    struct value *v = NULL;
    err = template_eval(p->results[i].value, scope, &v, e);
    if (!err)
      value_map_set(all, p->results[i].key, v);
    else
      error_prefix(e, "`%s` of the result", p->results[i].key);
  }
  if (err) value_free(&all);
  *result = all;
  return err;
}

struct reading {
  const struct pipeline_stage *of;
  uint32_t available;
  bool found;
};

static void visit_reading(void *context, const struct reference *r) {
  struct reading *reading = context;
  if (r->kind != REFERENCE_STAGE || strcmp(r->name, reading->of->id) != 0) return;
  const struct result_type *result = stage_type_result(reading->of->type, r->key);
  uint32_t available = result ? result->available : SM_AT_END;
  reading->found |= available == reading->available;
}

static void visit_template(void *context, const struct template *t) { template_references(t, visit_reading, context); }

bool pipeline_setting_reads(const struct pipeline *p, size_t reader, size_t setting, size_t of_stage,
                            uint32_t available) {
  struct reading reading = {&p->stages[of_stage], available, false};
  setting_templates(p->stages[reader].settings[setting].value, visit_template, &reading);
  return reading.found;
}

bool pipeline_reads(const struct pipeline *p, size_t reader, size_t of_stage, uint32_t available) {
  struct reading reading = {&p->stages[of_stage], available, false};
  const struct pipeline_stage *stage = &p->stages[reader];
  if (stage->condition) expr_references(stage->condition, visit_reading, &reading);
  for (size_t i = 0; i < stage->setting_count; i++)
    setting_templates(stage->settings[i].value, visit_template, &reading);
  return reading.found;
}
