#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "pipeline/build.h"

enum { DEPTH_MAX = 8, FILES_MAX = 32, FILE_BYTES_MAX = 1 << 20 };

struct open_file { /* being read: an include of one of these is a circle */
  const char *path;
  const struct open_file *outer;
};

struct merge {
  struct build *b;
  struct node *params, *stages; /* of all files */
  const struct node *first_params, *first_stages;
  char *seen[FILES_MAX];
  size_t seen_count;
  bool usable;
};

static bool read_one(struct merge *m, const char *text, size_t size, const char *name, const char *folder,
                     const struct open_file *open, size_t depth);

static char *folder_of(const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash) return mem_text(".");
  return mem_text_n(path, slash == path ? 1 : (size_t)(slash - path));
}

/* How a file is named in problems: as the including file's own name leads to it. */
static char *shown_name(const char *from, const char *path) {
  const char *slash = strrchr(from, '/');
  if (*path == '/' || !slash) return mem_text(path);
  return mem_format("%.*s/%s", (int)(slash - from), from, path);
}

static bool check_circle(struct merge *m, const struct node *node, const char *path, const struct open_file *open) {
  for (const struct open_file *o = open; o; o = o->outer) {
    if (!o->path || strcmp(o->path, path) != 0) continue;
    node_problem(m->b->report, PROBLEM_ERROR, node, "a file cannot include itself, nor one that includes it",
                 "`%.200s` includes itself in a circle", node->text);
    return false;
  }
  return true;
}

static bool seen(struct merge *m, const char *path) {
  for (size_t i = 0; i < m->seen_count; i++)
    if (strcmp(m->seen[i], path) == 0) return true;
  return false;
}

/* What follows the path in "cannot open PATH: No such file": the file is named as it is written. */
static const char *reason(const struct error *e, const char *path) {
  const char *at = strstr(e->message, path);
  return at ? at + strlen(path) : "";
}

static void include_one(struct merge *m, const struct node *node, const char *folder, const struct open_file *open,
                        size_t depth) {
  struct report *report = m->b->report;
  if (node->kind != NODE_SCALAR || !node->size) return; /* the schema says so */
  if (!folder) {
    node_problem(report, PROBLEM_ERROR, node, "submit the file itself, or what `stagemill check` makes of it",
                 "`include` needs a file that it is relative to");
    return;
  }
  mem_auto char *path = fs_absolute(folder, node->text);
  if (!check_circle(m, node, path, open) || seen(m, path)) return;
  if (depth == DEPTH_MAX || m->seen_count == FILES_MAX) {
    node_problem(report, PROBLEM_ERROR, node, NULL, "includes are nested more than %d deep, or more than %d files",
                 DEPTH_MAX, FILES_MAX);
    return;
  }
  m->seen[m->seen_count++] = mem_text(path);
  buf_auto struct buf text = {0};
  struct error e = {0};
  if (fs_read_file(path, FILE_BYTES_MAX, &text, &e)) {
    node_problem(report, PROBLEM_ERROR, node, "paths are relative to the file that writes them",
                 "cannot include `%.200s`%s", node->text, reason(&e, path));
    return;
  }
  mem_auto char *name = shown_name(node->file->name, node->text);
  mem_auto char *inner = folder_of(path);
  struct open_file now = {path, open};
  read_one(m, buf_string(&text), text.size, name, inner, &now, depth + 1);
}

static void include_all(struct merge *m, const struct node *include, const char *folder, const struct open_file *open,
                        size_t depth) {
  if (!include) return;
  if (include->kind == NODE_SCALAR) include_one(m, include, folder, open, depth);
  for (size_t i = 0; include->kind == NODE_LIST && i < include->count; i++)
    include_one(m, include->items[i], folder, open, depth);
}

/* Anchors of included files can be used by the file that includes them: so includes are looked for first. */
static void read_included(struct merge *m, const char *text, size_t size, const char *name, const char *folder,
                          const struct open_file *open, size_t depth) {
  struct tree *glance = tree_new(NULL);
  struct node *root = NULL;
  if (!tree_peek(glance, text, size, name, folder, &root))
    include_all(m, node_get(root, "include"), folder, open, depth);
  tree_free(&glance);
}

static void add_params(struct merge *m, const struct node *params) {
  if (params->kind != NODE_MAP) return;
  if (!m->params) m->params = tree_map(m->b->tree, params);
  for (size_t i = 0; i < params->count; i++) {
    struct node *key = params->entries[i].key;
    const struct node *old = node_key(m->params, key->text);
    if (!old) {
      tree_map_add(m->params, key, params->entries[i].value);
      continue;
    }
    mem_auto char *hint = mem_format("the first one stands in %s:%zu", old->file->name, old->line);
    node_problem(m->b->report, PROBLEM_ERROR, key, hint, "the parameter `%.100s` is declared twice", key->text);
  }
}

static void add_stages(struct merge *m, const struct node *stages) {
  if (stages->kind != NODE_LIST) return;
  if (!m->stages) m->stages = tree_list(m->b->tree, stages);
  for (size_t i = 0; i < stages->count; i++) tree_list_add(m->stages, stages->items[i]);
}

/* Top-level keys that begin with x- are for anchors. The rest is checked against what this file may hold. */
static struct node *without_private(struct build *b, const struct node *root) {
  struct node *map = tree_map(b->tree, root);
  for (size_t i = 0; i < root->count; i++)
    if (strncmp(root->entries[i].key->text, "x-", 2) != 0)
      tree_map_add(map, root->entries[i].key, root->entries[i].value);
  return map;
}

static void ignore_expression(void *context, const struct rule *rule, const struct node *node) {
  (void)context, (void)rule, (void)node; /* looked at when the whole is known */
}

static void check_keys(struct merge *m, const struct node *map, bool included) {
  struct schema_place places[KEYS_PLACES_MAX];
  struct schema schema = {.what = "the pipeline",
                          .rules = keys_pipeline,
                          .places = places,
                          .synonyms = keys_synonyms,
                          .expression = ignore_expression};
  schema.place_count = keys_places(KEYS_TOP, NULL, places);
  if (included) {
    schema.what = "an included file";
    schema.rules = keys_include;
    schema.place_count = keys_places(KEYS_INCLUDE, NULL, places);
    for (size_t i = 0; i < schema.place_count; i++)
      if (places[i].rules == keys_pipeline) places[i].where = "in the file that includes this one";
  }
  schema_check(&schema, map, map, m->b->report, NULL);
}

static bool read_one(struct merge *m, const char *text, size_t size, const char *name, const char *folder,
                     const struct open_file *open, size_t depth) {
  struct build *b = m->b;
  struct node *root;
  read_included(m, text, size, name, folder, open, depth);
  if (tree_parse(b->tree, text, size, name, folder, b->report, &root)) return false;
  if (root->kind != NODE_MAP) {
    node_problem(b->report, PROBLEM_ERROR, root, "it begins with `stagemill: 1`", "a pipeline is a map of keys, not %s",
                 node_kind_word(root));
    return false;
  }
  struct node *map = without_private(b, root);
  check_keys(m, map, depth > 0);
  const struct node *params = node_get(map, "params"), *stages = node_get(map, "stages");
  if (params) add_params(m, params);
  if (stages) add_stages(m, stages);
  if (depth == 0) b->root = map, b->main_file = root->file;
  return true;
}

/* The main file's map with the params and stages of all files, in the place where they stood. */
static void replace(struct build *b, const char *key, struct node *value) {
  if (!value) return;
  for (size_t i = 0; i < b->root->count; i++)
    if (strcmp(b->root->entries[i].key->text, key) == 0) {
      b->root->entries[i].value = value;
      return;
    }
  tree_map_add(b->root, tree_text(b->tree, value, key), value);
}

static void drop(struct node *map, const char *key) {
  size_t kept = 0;
  for (size_t i = 0; i < map->count; i++)
    if (strcmp(map->entries[i].key->text, key) != 0) map->entries[kept++] = map->entries[i];
  map->count = kept;
}

/* As if the main file included it first, though it may have no folder to be relative to. */
static bool read_front(struct merge *m, const char *path) {
  buf_auto struct buf text = {0};
  struct error e = {0};
  struct open_file now = {path, NULL};
  mem_auto char *folder = folder_of(path);
  if (!fs_read_file(path, FILE_BYTES_MAX, &text, &e))
    return read_one(m, buf_string(&text), text.size, path, folder, &now, 1);
  report_add(m->b->report, PROBLEM_ERROR, path, 0, 0, 0, NULL, NULL, "%s", e.message);
  return false;
}

bool include_load(struct build *b, const char *text, size_t size, const char *name, const char *folder,
                  const char *path) {
  struct merge m = {.b = b};
  struct open_file open = {path, NULL};
  bool read = (!b->front || read_front(&m, b->front)) && read_one(&m, text, size, name, folder, &open, 0);
  for (size_t i = 0; i < m.seen_count; i++) free(m.seen[i]);
  if (!read) return false;
  replace(b, "params", m.params);
  replace(b, "stages", m.stages);
  drop(b->root, "include");
  return true;
}
