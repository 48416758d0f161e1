/* tree.h - YAML as one generic tree whose nodes know where they stand.
 *
 * libyaml's events become lists, maps and scalars with file, line and column (from 1). Anchors, aliases and merge keys
 * (`<<`) are resolved here: an alias is the anchor's own node, shared, and what a file expands to is counted, so that
 * a billion laughs are refused before anybody walks them. Bad UTF-8, NUL bytes, duplicate keys, several documents and
 * tags are problems with a place. Memory and time are bounded by struct tree_limits, whatever the text says. */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "config/report.h"

enum node_kind { NODE_SCALAR = 1, NODE_LIST, NODE_MAP };

struct tree_limits {        /* zero: the default */
  size_t file_bytes;        /* 1 MiB, one file */
  size_t depth;             /* 32 */
  size_t nodes;             /* 20,000 written in all files of the tree */
  size_t scalar_bytes;      /* 64 KiB */
  size_t expanded_nodes;    /* 50,000 once aliases are followed */
  size_t expanded_bytes;    /* 2 MiB of scalars once aliases are followed */
};

struct tree_file {
  char *name;   /* as shown in problems */
  char *folder; /* what its relative paths are relative to; NULL: nothing (pinned text) */
  char *text;   /* the whole text, for the source lines in problems */
  size_t size;
  size_t *lines; /* offset of each line */
  size_t line_count;
};

struct node;
struct node_entry {
  struct node *key, *value;
  bool merged; /* came in through `<<` */
};
struct node {
  enum node_kind kind;
  const struct tree_file *file;
  size_t line, column, length;
  bool plain; /* scalar without quotes */
  char *text; /* SCALAR; no NUL inside */
  size_t size;
  struct node **items;        /* LIST */
  struct node_entry *entries; /* MAP */
  size_t count;
  size_t weight_nodes, weight_bytes; /* of the whole branch, aliases followed */
  bool complete;
};

struct tree; /* owns every node and file that was read into it */
struct tree *tree_new(const struct tree_limits *limits);
void tree_free(struct tree **tree);

/* Reads one file's text. All problems land in the report; *root is NULL when there is no usable tree (ERR_INVALID).
 * Duplicate keys are problems but leave a tree. Anchors of files read earlier into the same tree can be used. */
enum err tree_parse(struct tree *tree, const char *text, size_t size, const char *name, const char *folder,
                    struct report *report, struct node **root);
/* The same quietly and with unknown aliases as empty scalars: to see what a file includes before it is read. */
enum err tree_peek(struct tree *tree, const char *text, size_t size, const char *name, const char *folder,
                   struct node **root);

const struct node *node_get(const struct node *map, const char *key); /* NULL when absent or no map */
const struct node *node_key(const struct node *map, const char *key); /* the key's own node */
const char *node_text(const struct node *map, const char *key);       /* of a scalar, NULL otherwise */
const char *node_kind_word(const struct node *node);                  /* "a list", "a map", "text", "nothing" */
bool node_is_empty(const struct node *node); /* plain and empty, `~` or `null` */

/* New nodes that belong to the tree: for what is put together from several files. */
struct node *tree_map(struct tree *tree, const struct node *place);
struct node *tree_list(struct tree *tree, const struct node *place);
struct node *tree_text(struct tree *tree, const struct node *place, const char *text); /* plain */
void tree_map_add(struct node *map, struct node *key, struct node *value);
void tree_list_add(struct node *list, struct node *item);

/* Reports a problem at a node, or at `length` characters from `shift` characters behind its beginning. */
void node_problem(struct report *report, enum problem_level level, const struct node *node, const char *hint,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));
void node_problem_within(struct report *report, enum problem_level level, const struct node *node, size_t shift,
                         size_t length, const char *hint, const char *format, ...)
    __attribute__((format(printf, 7, 8)));
char *tree_file_line(const struct tree_file *file, size_t line); /* owned text without its break; NULL: no such line */
