/* What only the whole graph shows: circles, two stages that write one path, work that nobody reads. */
#include <string.h>

#include "base/mem.h"
#include "pipeline/build.h"
#include "pipeline/expr_parts.h"

enum mark { MARK_NEW, MARK_OPEN, MARK_DONE };

struct walk {
  struct build *b;
  enum mark *marks;
  size_t *path;
  size_t depth;
  bool found;
};

static void say_circle(struct walk *w, size_t again) {
  buf_auto struct buf text = {0};
  size_t begin = 0;
  while (w->path[begin] != again) begin++;
  for (size_t i = begin; i < w->depth; i++) buf_format(&text, "%s -> ", w->b->p->stages[w->path[i]].id);
  buf_text(&text, w->b->p->stages[again].id);
  const struct node *node = w->b->stage_nodes[again], *id = node_get(node, "id");
  node_problem(w->b->report, PROBLEM_ERROR, id ? id : node,
               "`needs`, `inputs` and expressions make a stage wait; remove one of these",
               "stages wait for one another in a circle: %s", buf_string(&text));
  w->found = true;
}

/* Depth is bounded by the number of stages (256). */
static void visit(struct walk *w, size_t stage) {
  const struct pipeline_stage *s = &w->b->p->stages[stage];
  w->marks[stage] = MARK_OPEN;
  w->path[w->depth++] = stage;
  for (size_t i = 0; i < s->after_count && !w->found; i++) {
    if (w->marks[s->after[i]] == MARK_OPEN)
      say_circle(w, s->after[i]);
    else if (w->marks[s->after[i]] == MARK_NEW)
      visit(w, s->after[i]);
  }
  w->depth--;
  w->marks[stage] = MARK_DONE;
}

static void check_circles(struct build *b) {
  struct walk w = {.b = b};
  size_t n = b->p->stage_count;
  w.marks = mem_array(n + 1, sizeof *w.marks);
  w.path = mem_array(n + 1, sizeof *w.path);
  for (size_t i = 0; i < n && !w.found; i++)
    if (w.marks[i] == MARK_NEW) visit(&w, i);
  free(w.marks);
  free(w.path);
}

/* ---- two stages that write one place ---------------------------------------------------------------------------- */

static const struct node *target_node(const struct build *b, size_t stage, const struct setting *setting) {
  const struct node *node = node_get(node_get(b->stage_nodes[stage], "with"), setting->name);
  bool target = (setting->type->takes & SM_TAKES_TARGET) && node && node->kind == NODE_SCALAR && node->size;
  return target ? node : NULL;
}

/* Alternatives may share a place: one of them has a condition. */
static bool conditional(const struct pipeline_stage *s) { return s->condition || s->when == RUN_ON_FAILURE; }

static bool same_target(const char *a, const char *b) {
  size_t n = strlen(a), m = strlen(b);
  while (n > 1 && a[n - 1] == '/') n--;
  while (m > 1 && b[m - 1] == '/') m--;
  return n == m && memcmp(a, b, n) == 0;
}

static void compare_targets(struct build *b, size_t first, size_t second) {
  const struct pipeline_stage *s = &b->p->stages[first], *t = &b->p->stages[second];
  for (size_t i = 0; i < s->setting_count; i++)
    for (size_t j = 0; j < t->setting_count; j++) {
      const struct node *one = target_node(b, first, &s->settings[i]), *two = target_node(b, second, &t->settings[j]);
      if (!one || !two || !same_target(one->text, two->text)) continue;
      mem_auto char *hint = mem_format("stage `%s` writes there in %s:%zu; give each a folder of its own", s->id,
                                       one->file->name, one->line);
      node_problem(b->report, PROBLEM_ERROR, two, hint, "stages `%s` and `%s` write to one place", s->id, t->id);
    }
}

static void check_targets(struct build *b) {
  for (size_t i = 0; i < b->p->stage_count; i++)
    for (size_t j = i + 1; j < b->p->stage_count; j++)
      if (!conditional(&b->p->stages[i]) && !conditional(&b->p->stages[j])) compare_targets(b, i, j);
}

/* ---- what nobody reads ------------------------------------------------------------------------------------------ */

static void warn_unread(struct build *b) {
  for (size_t i = 0; i < b->p->stage_count; i++) {
    const struct pipeline_stage *s = &b->p->stages[i];
    if (!s->type || s->type->kind != SM_KIND_FILTER || b->stage_read[i]) continue;
    const struct node *id = node_get(b->stage_nodes[i], "id");
    node_problem(b->report, PROBLEM_WARNING, id ? id : b->stage_nodes[i],
                 "put it before the stages that are to read it", "nobody reads what the filter `%s` makes", s->id);
  }
}

static void warn_unused_params(struct build *b) {
  const struct node *params = node_get(b->root, "params");
  for (size_t i = 0; i < b->p->param_count; i++) {
    const struct node *key = node_key(params, b->p->params[i].name);
    /* An included file may offer more than one pipeline uses. */
    if (b->param_used[i] || !key || key->file != b->main_file) continue;
    node_problem(b->report, PROBLEM_WARNING, key, NULL, "nothing uses the parameter `%s`", key->text);
  }
}

void graph_check(struct build *b) {
  check_circles(b);
  check_targets(b);
  /* What is wrong elsewhere makes these guesses. */
  if (report_errors(b->report)) return;
  warn_unread(b);
  warn_unused_params(b);
}
