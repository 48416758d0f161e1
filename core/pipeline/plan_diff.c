/* plan_diff.c - what differs between two versions of a pipeline: written keys, stage by stage, then what that does to
 * the passes. The canonical texts are compared, so that anchors, includes and the order of keys make no difference. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "config/tree.h"
#include "pipeline/plan_forecast.h"

enum { SHOWN_MAX = 72 }; /* characters of a value */

struct diff {
  struct buf lines; /* of the stage or section at hand */
  struct buf *out;
};

/* ---- values in one line ------------------------------------------------------------------------------------------ */

static void flow(const struct node *node, struct buf *out) {
  if (out->size > 4 * SHOWN_MAX) return; /* it will be cut anyway */
  if (node->kind == NODE_SCALAR) {
    buf_add(out, node->text, node->size);
    return;
  }
  buf_char(out, node->kind == NODE_LIST ? '[' : '{');
  for (size_t i = 0; i < node->count; i++) {
    if (i) buf_text(out, ", ");
    if (node->kind == NODE_MAP) buf_format(out, "%s: ", node->entries[i].key->text);
    flow(node->kind == NODE_LIST ? node->items[i] : node->entries[i].value, out);
  }
  buf_char(out, node->kind == NODE_LIST ? ']' : '}');
}

static void show(const struct node *node, struct buf *out) {
  buf_auto struct buf text = {0};
  flow(node, &text);
  for (size_t i = 0; i < text.size; i++)
    if ((unsigned char)text.data[i] < ' ') text.data[i] = ' ';
  bool cut = text.size > SHOWN_MAX;
  size_t size = cut ? SHOWN_MAX : text.size;
  while (cut && size && ((unsigned char)text.data[size] & 0xc0) == 0x80) size--; /* not within a character */
  buf_add(out, buf_string(&text), size);
  if (cut) buf_text(out, "...");
  if (!text.size) buf_text(out, "''");
}

/* ---- two nodes --------------------------------------------------------------------------------------------------- */

static void diff_nodes(struct diff *d, const char *path, const struct node *old, const struct node *new);

static bool same_scalar(const struct node *a, const struct node *b) {
  return a->kind == NODE_SCALAR && b->kind == NODE_SCALAR && a->size == b->size && !memcmp(a->text, b->text, a->size);
}

static void diff_maps(struct diff *d, const char *path, const struct node *old, const struct node *new) {
  for (size_t i = 0; i < old->count; i++) {
    const char *key = old->entries[i].key->text;
    mem_auto char *deeper = mem_format("%s%s%s", path, path[0] ? "." : "", key);
    diff_nodes(d, deeper, old->entries[i].value, node_get(new, key));
  }
  for (size_t i = 0; i < new->count; i++) {
    const char *key = new->entries[i].key->text;
    if (node_get(old, key)) continue;
    mem_auto char *deeper = mem_format("%s%s%s", path, path[0] ? "." : "", key);
    diff_nodes(d, deeper, NULL, new->entries[i].value);
  }
}

static bool same_nodes(const struct node *a, const struct node *b) {
  if (a->kind != b->kind || a->count != b->count) return false;
  if (a->kind == NODE_SCALAR) return same_scalar(a, b);
  for (size_t i = 0; i < a->count; i++) {
    const struct node *left = a->kind == NODE_LIST ? a->items[i] : a->entries[i].value;
    const struct node *right = a->kind == NODE_LIST ? b->items[i] : node_get(b, a->entries[i].key->text);
    if (!right || !same_nodes(left, right)) return false;
  }
  return true;
}

static void diff_nodes(struct diff *d, const char *path, const struct node *old, const struct node *new) {
  if (old && new && old->kind == NODE_MAP &&new->kind == NODE_MAP) {
    diff_maps(d, path, old, new);
    return;
  }
  if (old && new &&same_nodes(old, new)) return;
  buf_format(&d->lines, "    %s: ", path);
  if (old) show(old, &d->lines);
  buf_text(&d->lines, old && new ? " -> " : old ? " (removed)" : "(new) ");
  if (new) show(new, &d->lines);
  buf_char(&d->lines, '\n');
}

static void diff_section(struct diff *d, const char *head) {
  if (d->lines.size) buf_format(d->out, "%s:\n%s", head, d->lines.data);
  buf_reset(&d->lines);
}

/* ---- stages ------------------------------------------------------------------------------------------------------ */

static const struct node *stage_node(const struct node *root, const char *id) {
  const struct node *stages = node_get(root, "stages");
  for (size_t i = 0; stages && stages->kind == NODE_LIST && i < stages->count; i++) {
    const char *its = node_text(stages->items[i], "id");
    if (its && !strcmp(its, id)) return stages->items[i];
  }
  return NULL;
}

static void diff_stages(struct diff *d, const struct pipeline *old, const struct node *old_root,
                        const struct pipeline *new, const struct node *new_root) {
  for (size_t i = 0; i < old->stage_count; i++)
    if (!pipeline_find(new, old->stages[i].id))
      buf_format(d->out, "Stage %s: removed (%s)\n", old->stages[i].id, old->stages[i].uses);
  for (size_t i = 0; i < new->stage_count; i++) {
    const char *id = new->stages[i].id;
    const struct node *before = stage_node(old_root, id), *after = stage_node(new_root, id);
    mem_auto char *head = mem_format("Stage %s", id);
    if (!pipeline_find(old, id))
      buf_format(d->out, "Stage %s: new (%s)\n", id, new->stages[i].uses);
    else if (before && after)
      diff_nodes(d, "", before, after);
    diff_section(d, head);
  }
}

static void diff_rest(struct diff *d, const struct node *old, const struct node *new) {
  for (size_t i = 0; i < old->count; i++) {
    const char *key = old->entries[i].key->text;
    if (strcmp(key, "stages")) diff_nodes(d, key, old->entries[i].value, node_get(new, key));
  }
  for (size_t i = 0; i < new->count; i++) {
    const char *key = new->entries[i].key->text;
    if (strcmp(key, "stages") && !node_get(old, key)) diff_nodes(d, key, NULL, new->entries[i].value);
  }
  diff_section(d, "Pipeline");
}

/* ---- passes ------------------------------------------------------------------------------------------------------ */

/* "poster, stream" for the attempt in which the stage first runs; "" when it does not. */
static void companions(const struct forecast *f, size_t stage, struct buf *out) {
  for (size_t i = 0; i < f->unit_count; i++) {
    const struct plan_unit *unit = &f->units[i].unit;
    bool here = false;
    for (size_t k = 0; k < unit->stage_count; k++) here |= unit->stages[k] == stage;
    if (!here) continue;
    for (size_t k = 0; k < unit->stage_count; k++)
      if (unit->stages[k] != stage) buf_format(out, "%s%s", out->size ? ", " : "", f->p->stages[unit->stages[k]].id);
    return;
  }
}

static void diff_companions(struct diff *d, const struct forecast *old, const struct forecast *new) {
  for (size_t i = 0; i < new->p->stage_count; i++) {
    size_t was = pipeline_index(old->p, new->p->stages[i].id);
    if (was == SIZE_MAX) continue;
    buf_auto struct buf before = {0}, after = {0};
    companions(old, was, &before);
    companions(new, i, &after);
    if (strcmp(buf_string(&before), buf_string(&after)))
      buf_format(&d->lines, "    %s: with %s -> with %s\n", new->p->stages[i].id, before.size ? before.data : "nobody",
                 after.size ? after.data : "nobody");
  }
  if (old->unit_count != new->unit_count)
    buf_format(&d->lines, "    attempts when all goes well: %zu -> %zu\n", old->unit_count, new->unit_count);
  diff_section(d, "Passes");
}

static struct value *fallbacks(const struct pipeline *p) {
  struct value *params = value_map();
  for (size_t i = 0; i < p->param_count; i++)
    value_map_set(params, p->params[i].name, value_copy(p->params[i].fallback));
  return params;
}

static enum err diff_passes(struct diff *d, const struct pipeline *old, const struct pipeline *new, struct error *e) {
  value_auto struct value *old_params = fallbacks(old), *new_params = fallbacks(new), *job = value_map();
  struct forecast before = {0}, after = {0};
  enum err err = forecast_make(&before, old, old_params, job, e);
  if (!err) err = forecast_make(&after, new, new_params, job, e);
  if (!err) diff_companions(d, &before, &after);
  forecast_clear(&before);
  forecast_clear(&after);
  return err;
}

/* ---- both -------------------------------------------------------------------------------------------------------- */

static struct node *pinned_root(struct tree *tree, const struct pipeline *p, struct report *report) {
  struct node *root = NULL;
  if (!p->pinned || tree_parse(tree, p->pinned, strlen(p->pinned), p->name, NULL, report, &root)) return NULL;
  return root && root->kind == NODE_MAP ? root : NULL;
}

enum err plan_diff(const struct pipeline *old, const struct pipeline *new, struct buf *out, struct error *e) {
  struct diff d = {.out = out};
  struct tree *old_tree = tree_new(NULL), *new_tree = tree_new(NULL);
  struct report *report = report_new();
  struct node *old_root = pinned_root(old_tree, old, report), *new_root = pinned_root(new_tree, new, report);
  size_t begin = out->size;
  enum err err = ERR_OK;
  if (!old_root || !new_root) {
    err = error_set(e, ERR_INTERNAL, "the canonical text of pipeline `%s` cannot be read back", new->name);
  } else {
    diff_rest(&d, old_root, new_root);
    diff_stages(&d, old, old_root, new, new_root);
    err = diff_passes(&d, old, new, e);
  }
  if (!err && out->size == begin) buf_text(out, "No difference.\n");
  buf_free(&d.lines);
  report_free(&report);
  tree_free(&old_tree);
  tree_free(&new_tree);
  return err;
}
