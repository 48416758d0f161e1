#include "config/tree.h"

#include <string.h>
#include <yaml.h>

#include "base/mem.h"
#include "config/tree_parts.h"

/* Beyond these a file is no configuration; they keep the quadratic searches below short. */
enum { KEY_MAX = 256, ENTRIES_MAX = 512, ANCHORS_MAX = 512 };

struct reader {
  struct tree *tree;
  const struct tree_file *file;
  struct report *report;
  yaml_parser_t parser;
  size_t depth;
  bool peek;
};

static size_t or_default(size_t value, size_t otherwise) { return value ? value : otherwise; }

struct tree *tree_new(const struct tree_limits *limits) {
  struct tree *tree = mem_alloc(sizeof *tree);
  if (limits) tree->limits = *limits;
  struct tree_limits *l = &tree->limits;
  l->file_bytes = or_default(l->file_bytes, 1u << 20);
  l->depth = or_default(l->depth, 32);
  l->nodes = or_default(l->nodes, 20000);
  l->scalar_bytes = or_default(l->scalar_bytes, 64u << 10);
  l->expanded_nodes = or_default(l->expanded_nodes, 50000);
  l->expanded_bytes = or_default(l->expanded_bytes, 2u << 20);
  return tree;
}

static void file_free(struct tree_file *file) {
  free(file->name);
  free(file->folder);
  free(file->text);
  free(file->lines);
  free(file);
}

void tree_free(struct tree **address) {
  struct tree *tree = *address;
  if (!tree) return;
  for (size_t i = 0; i < tree->node_count; i++) {
    free(tree->nodes[i]->text);
    free(tree->nodes[i]->items);
    free(tree->nodes[i]->entries);
    free(tree->nodes[i]);
  }
  for (size_t i = 0; i < tree->file_count; i++) file_free(tree->files[i]);
  for (size_t i = 0; i < tree->anchor_count; i++) free(tree->anchors[i].name);
  free(tree->nodes);
  free(tree->files);
  free(tree->anchors);
  free(tree);
  *address = NULL;
}

struct node *tree_node(struct tree *tree, enum node_kind kind, const struct tree_file *file) {
  if (tree->node_count == tree->node_room) {
    tree->node_room = tree->node_room ? tree->node_room * 2 : 64;
    tree->nodes = mem_grow(tree->nodes, tree->node_room, sizeof *tree->nodes);
  }
  struct node *node = mem_alloc(sizeof *node);
  node->kind = kind;
  node->file = file;
  node->length = 1;
  node->weight_nodes = 1;
  tree->nodes[tree->node_count++] = node;
  return node;
}

static struct node *made(struct tree *tree, enum node_kind kind, const struct node *place) {
  struct node *node = tree_node(tree, kind, place ? place->file : NULL);
  if (place) node->line = place->line, node->column = place->column, node->length = place->length;
  node->complete = true;
  return node;
}

struct node *tree_map(struct tree *tree, const struct node *place) {
  return made(tree, NODE_MAP, place);
}
struct node *tree_list(struct tree *tree, const struct node *place) {
  return made(tree, NODE_LIST, place);
}

struct node *tree_text(struct tree *tree, const struct node *place, const char *text) {
  struct node *node = made(tree, NODE_SCALAR, place);
  node->text = mem_text(text);
  node->size = node->weight_bytes = strlen(text);
  node->plain = true;
  return node;
}

static void weigh(struct node *node, const struct node *part) {
  node->weight_nodes += part->weight_nodes;
  node->weight_bytes += part->weight_bytes;
}

static void entry_add(struct node *map, struct node *key, struct node *value, bool merged) {
  /* Room grows in powers of two; the count alone says when. */
  if ((map->count & (map->count - 1)) == 0)
    map->entries = mem_grow(map->entries, map->count ? map->count * 2 : 1, sizeof *map->entries);
  map->entries[map->count++] = (struct node_entry){key, value, merged};
  weigh(map, key);
  weigh(map, value);
}

void tree_map_add(struct node *map, struct node *key, struct node *value) { entry_add(map, key, value, false); }

void tree_list_add(struct node *list, struct node *item) {
  if ((list->count & (list->count - 1)) == 0)
    list->items = mem_grow(list->items, list->count ? list->count * 2 : 1, sizeof *list->items);
  list->items[list->count++] = item;
  weigh(list, item);
}

static const struct node_entry *entry_find(const struct node *map, const char *key) {
  if (!map || map->kind != NODE_MAP) return NULL;
  for (size_t i = 0; i < map->count; i++)
    if (strcmp(map->entries[i].key->text, key) == 0) return &map->entries[i];
  return NULL;
}

const struct node *node_get(const struct node *map, const char *key) {
  const struct node_entry *entry = entry_find(map, key);
  return entry ? entry->value : NULL;
}

const struct node *node_key(const struct node *map, const char *key) {
  const struct node_entry *entry = entry_find(map, key);
  return entry ? entry->key : NULL;
}

const char *node_text(const struct node *map, const char *key) {
  const struct node *node = node_get(map, key);
  return node && node->kind == NODE_SCALAR ? node->text : NULL;
}

bool node_is_empty(const struct node *n) {
  return n->kind == NODE_SCALAR && n->plain &&
         (n->size == 0 || strcmp(n->text, "~") == 0 || strcmp(n->text, "null") == 0);
}

const char *node_kind_word(const struct node *node) {
  if (node->kind == NODE_LIST) return "a list";
  if (node->kind == NODE_MAP) return "a map";
  return node_is_empty(node) ? "nothing" : "a single value";
}

/* ---- events to nodes ------------------------------------------------------------------------------------------- */

static void place(struct node *node, const yaml_event_t *event) {
  node->line = event->start_mark.line + 1;
  node->column = event->start_mark.column + 1;
  bool one_line = event->end_mark.line == event->start_mark.line && event->end_mark.column > event->start_mark.column;
  node->length = one_line && node->kind == NODE_SCALAR ? event->end_mark.column - event->start_mark.column : 1;
}

static struct node *refuse(struct reader *r, const struct node *at, const char *hint, const char *what) {
  node_problem(r->report, PROBLEM_ERROR, at, hint, "%s", what);
  return NULL;
}

static void syntax_problem(struct reader *r) {
  const yaml_parser_t *p = &r->parser;
  if (p->error == YAML_READER_ERROR) { /* has an offset, no mark */
    tree_file_byte(r->file, p->problem_offset, r->report, "a control character stands in the text",
                   "remove it, or write it as an escape in double quotes");
    return;
  }
  size_t line = p->problem_mark.line + 1, column = p->problem_mark.column + 1;
  mem_auto char *source = tree_file_line(r->file, line);
  const char *what = p->problem ? p->problem : "unreadable";
  const char *hint = "check indentation, quotes and colons here and on the line before";
  if (source && strchr(source, '\t') && strstr(what, "cannot start any token"))
    hint = "indent with spaces, not tabs";
  else if (source && strstr(what, "mapping values are not allowed"))
    hint = "a text with `: ` in it needs quotes";
  report_add(r->report, PROBLEM_ERROR, r->file->name, line, column, 1, source, hint, "not valid YAML: %s", what);
}

static bool next(struct reader *r, yaml_event_t *event) {
  if (yaml_parser_parse(&r->parser, event)) return true;
  syntax_problem(r);
  return false;
}

/* Our nodes have no types of their own, so that only the tags that say "text, list, map" mean anything. */
static bool tag_known(const char *tag) {
  static const char *const known[] = {"!", YAML_STR_TAG, YAML_SEQ_TAG, YAML_MAP_TAG};
  for (size_t i = 0; tag && i < sizeof known / sizeof *known; i++)
    if (strcmp(tag, known[i]) == 0) return true;
  return !tag;
}

static bool check_tag(struct reader *r, const struct node *node, const yaml_char_t *tag) {
  if (tag_known((const char *)tag)) return true;
  node_problem(r->report, PROBLEM_ERROR, node, "remove it: what a value is follows from where it stands",
               "the tag `%.100s` has no meaning here", (const char *)tag);
  return false;
}

static struct anchor *anchor_find(const struct tree *tree, const char *name) {
  for (size_t i = tree->anchor_count; i-- > 0;)
    if (strcmp(tree->anchors[i].name, name) == 0) return &tree->anchors[i];
  return NULL;
}

static bool anchor_add(struct reader *r, struct node *node, const yaml_char_t *name) {
  if (!name) return true;
  struct tree *tree = r->tree;
  const struct anchor *old = anchor_find(tree, (const char *)name);
  if (old && old->file == r->file) {
    node_problem(r->report, PROBLEM_ERROR, node, "give it another name",
                 "the anchor `&%.100s` stands twice in this file (line %zu)", (const char *)name, old->node->line);
    return false;
  }
  if (tree->anchor_count == ANCHORS_MAX) return refuse(r, node, "use fewer", "more than 512 anchors");
  tree->anchors = mem_grow(tree->anchors, tree->anchor_count + 1, sizeof *tree->anchors);
  tree->anchors[tree->anchor_count++] = (struct anchor){mem_text((const char *)name), node, r->file};
  return true;
}

static bool within_limits(struct reader *r, const struct node *node, const struct node *at) {
  const struct tree_limits *l = &r->tree->limits;
  if (node->weight_nodes <= l->expanded_nodes && node->weight_bytes <= l->expanded_bytes) return true;
  node_problem(r->report, PROBLEM_ERROR, at, "use fewer aliases, or shorter ones",
               "with its aliases followed the file has more than %zu values or %zu KiB", l->expanded_nodes,
               l->expanded_bytes / 1024);
  return false;
}

static struct node *read_alias(struct reader *r, const yaml_event_t *event) {
  struct node at = {.kind = NODE_SCALAR, .file = r->file};
  place(&at, event);
  const char *name = (const char *)event->data.alias.anchor;
  const struct anchor *anchor = anchor_find(r->tree, name);
  if (anchor && anchor->node->complete) return anchor->node;
  if (anchor) return refuse(r, &at, NULL, "an alias cannot stand inside what it repeats");
  if (r->peek) {
    struct node *nothing = tree_node(r->tree, NODE_SCALAR, r->file);
    nothing->text = mem_text("");
    nothing->complete = nothing->plain = true;
    return nothing;
  }
  const char *names[ANCHORS_MAX];
  for (size_t i = 0; i < r->tree->anchor_count; i++) names[i] = r->tree->anchors[i].name;
  const char *near = report_nearest(name, names, r->tree->anchor_count);
  mem_auto char *hint = near ? mem_format("did you mean `*%s`?", near) : mem_text("define it first with `&`");
  node_problem(r->report, PROBLEM_ERROR, &at, hint, "no anchor `&%.100s` stands before this", name);
  return NULL;
}

static struct node *read_scalar(struct reader *r, struct node *node, const yaml_event_t *event) {
  node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !event->data.scalar.tag;
  node->size = event->data.scalar.length;
  const char *text = (const char *)event->data.scalar.value;
  if (node->size > r->tree->limits.scalar_bytes) {
    node_problem(r->report, PROBLEM_ERROR, node, NULL, "this text is longer than %zu KiB",
                 r->tree->limits.scalar_bytes / 1024);
    return NULL;
  }
  if (memchr(text, 0, node->size)) return refuse(r, node, "remove `\\0`", "a text cannot hold a NUL character");
  node->text = mem_text_n(text, node->size);
  node->weight_bytes = node->size;
  return node;
}

static struct node *read_node(struct reader *r, const yaml_event_t *event);

static struct node *read_list(struct reader *r, struct node *list) {
  for (;;) {
    yaml_event_t event;
    if (!next(r, &event)) return NULL;
    bool ended = event.type == YAML_SEQUENCE_END_EVENT;
    struct node *item = ended ? NULL : read_node(r, &event);
    yaml_event_delete(&event);
    if (ended) return list;
    if (!item) return NULL;
    tree_list_add(list, item);
    if (!within_limits(r, list, list)) return NULL;
  }
}

/* What is written in the map itself wins over what is merged, and the first of several merged maps over later ones. */
static bool merge_one(struct reader *r, struct node *map, const struct node *key, const struct node *from) {
  if (from->kind != NODE_MAP)
    return r->peek ||
           refuse(r, key, "write `<<: *anchor`, where the anchor stands before a map", "only a map can be merged");
  for (size_t i = 0; i < from->count; i++) {
    if (entry_find(map, from->entries[i].key->text)) continue;
    if (map->count == ENTRIES_MAX) return refuse(r, key, NULL, "more than 512 keys in one map");
    entry_add(map, from->entries[i].key, from->entries[i].value, true);
    if (!within_limits(r, map, key)) return false;
  }
  return true;
}

static bool merge(struct reader *r, struct node *map, const struct node *key, const struct node *value) {
  if (value->kind != NODE_LIST) return merge_one(r, map, key, value);
  for (size_t i = 0; i < value->count; i++)
    if (!merge_one(r, map, key, value->items[i])) return false;
  return true;
}

static bool check_key(struct reader *r, struct node *map, const struct node *key) {
  if (key->kind != NODE_SCALAR) return refuse(r, key, "write `key: value`", "a key has to be a single word");
  if (key->size == 0) return refuse(r, key, "write `key: value`", "a key is missing before the colon");
  if (key->size > KEY_MAX) return refuse(r, key, NULL, "a key has more than 256 characters");
  if (map->count >= ENTRIES_MAX) return refuse(r, key, NULL, "more than 512 keys in one map");
  return true;
}

static void add_entry(struct reader *r, struct node *map, struct node *key, struct node *value) {
  const struct node *first = node_key(map, key->text);
  if (!first) {
    entry_add(map, key, value, false);
    return;
  }
  mem_auto char *hint = mem_format("the first one stands in line %zu", first->line);
  node_problem(r->report, PROBLEM_ERROR, key, hint, "the key `%.100s` stands twice", key->text);
}

static struct node *read_value(struct reader *r) {
  yaml_event_t event;
  if (!next(r, &event)) return NULL;
  struct node *value = read_node(r, &event);
  yaml_event_delete(&event);
  return value;
}

static struct node *read_map(struct reader *r, struct node *map) {
  struct node *merge_key = NULL, *merged = NULL;
  for (;;) {
    yaml_event_t event;
    if (!next(r, &event)) return NULL;
    bool ended = event.type == YAML_MAPPING_END_EVENT;
    struct node *key = ended ? NULL : read_node(r, &event);
    yaml_event_delete(&event);
    if (ended) break;
    if (!key || !check_key(r, map, key)) return NULL;
    struct node *value = read_value(r);
    if (!value) return NULL;
    bool merges = key->plain && strcmp(key->text, "<<") == 0;
    if (merges && merge_key) return refuse(r, key, "write `<<: [*a, *b]`", "`<<` stands twice in one map");
    if (merges)
      merge_key = key, merged = value;
    else
      add_entry(r, map, key, value);
    if (!within_limits(r, map, map)) return NULL;
  }
  return merge_key && !merge(r, map, merge_key, merged) ? NULL : map;
}

static struct node *read_branch(struct reader *r, struct node *node) {
  if (r->depth == r->tree->limits.depth) {
    node_problem(r->report, PROBLEM_ERROR, node, NULL, "more than %zu levels of nesting", r->tree->limits.depth);
    return NULL;
  }
  r->depth++;
  struct node *read = node->kind == NODE_LIST ? read_list(r, node) : read_map(r, node);
  r->depth--;
  return read;
}

static struct node *read_node(struct reader *r, const yaml_event_t *event) {
  if (event->type == YAML_ALIAS_EVENT) return read_alias(r, event);
  const yaml_char_t *tag, *anchor;
  enum node_kind kind = NODE_SCALAR;
  if (event->type == YAML_SCALAR_EVENT) {
    tag = event->data.scalar.tag, anchor = event->data.scalar.anchor;
  } else if (event->type == YAML_SEQUENCE_START_EVENT) {
    tag = event->data.sequence_start.tag, anchor = event->data.sequence_start.anchor, kind = NODE_LIST;
  } else {
    tag = event->data.mapping_start.tag, anchor = event->data.mapping_start.anchor, kind = NODE_MAP;
  }
  struct node *node = tree_node(r->tree, kind, r->file);
  place(node, event);
  if (r->tree->node_count > r->tree->limits.nodes)
    return refuse(r, node, "split what it does into several pipelines", "too many values in this file");
  if (!check_tag(r, node, tag) || !anchor_add(r, node, anchor)) return NULL;
  struct node *read = kind == NODE_SCALAR ? read_scalar(r, node, event) : read_branch(r, node);
  if (read) read->complete = true;
  return read;
}

/* STREAM-START DOCUMENT-START node DOCUMENT-END STREAM-END; anything else is a second document. */
static struct node *read_document(struct reader *r) {
  struct node *root = NULL;
  for (;;) {
    yaml_event_t event;
    if (!next(r, &event)) return NULL;
    struct node at = {
        .file = r->file, .line = event.start_mark.line + 1, .column = event.start_mark.column + 1, .length = 3};
    yaml_event_type_t type = event.type;
    bool second = type == YAML_DOCUMENT_START_EVENT && root;
    bool content = type == YAML_SCALAR_EVENT || type == YAML_ALIAS_EVENT || type == YAML_SEQUENCE_START_EVENT ||
                   type == YAML_MAPPING_START_EVENT;
    if (content) root = read_node(r, &event);
    yaml_event_delete(&event);
    if (second)
      return refuse(r, &at, "put it into a file of its own", "a second document begins here: one file holds one");
    if (content && !root) return NULL;
    if (type == YAML_STREAM_END_EVENT) break;
  }
  if (!root) report_add(r->report, PROBLEM_ERROR, r->file->name, 0, 0, 0, NULL, NULL, "the file is empty");
  return root;
}

static enum err parse(struct reader *r, struct node **root) {
  *root = NULL;
  if (!tree_file_check(r->tree, r->file, r->report)) return ERR_INVALID;
  if (!yaml_parser_initialize(&r->parser)) return ERR_INTERNAL;
  /* A byte order mark is not part of the first column. */
  size_t skip = r->file->size >= 3 && memcmp(r->file->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
  yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&r->parser, (const unsigned char *)r->file->text + skip, r->file->size - skip);
  *root = read_document(r);
  yaml_parser_delete(&r->parser);
  return *root ? ERR_OK : ERR_INVALID;
}

enum err tree_parse(struct tree *tree, const char *text, size_t size, const char *name, const char *folder,
                    struct report *report, struct node **root) {
  struct reader r = {.tree = tree, .report = report, .file = tree_file_add(tree, text, size, name, folder)};
  return parse(&r, root);
}

enum err tree_peek(struct tree *tree, const char *text, size_t size, const char *name, const char *folder,
                   struct node **root) {
  struct report *nobody = report_new();
  struct reader r = {
      .tree = tree, .report = nobody, .peek = true, .file = tree_file_add(tree, text, size, name, folder)};
  enum err err = parse(&r, root);
  report_free(&nobody);
  return err;
}
