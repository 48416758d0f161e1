/* tree_parts.h - what the files of the tree share. */
#pragma once
#include "config/tree.h"

struct tree {
  struct tree_limits limits;
  struct node **nodes;
  size_t node_count, node_room;
  struct tree_file **files;
  size_t file_count;
  struct anchor {
    char *name;
    struct node *node;
    const struct tree_file *file;
  } *anchors;
  size_t anchor_count;
};

/* Copies the text, finds its lines. */
struct tree_file *tree_file_add(struct tree *tree, const char *text, size_t size, const char *name,
                                const char *folder);
/* Size, NUL bytes and UTF-8 of a text, before the YAML reader sees it. False: reported. */
bool tree_file_check(const struct tree *tree, const struct tree_file *file, struct report *report);
/* A problem at a byte of the text; answers false. */
bool tree_file_byte(const struct tree_file *file, size_t offset, struct report *report, const char *what,
                    const char *hint);
struct node *tree_node(struct tree *tree, enum node_kind kind, const struct tree_file *file);
