/* shelf_parts.h - what the two files of the shelf share. */
#pragma once
#include "service/shelf.h"

/* A pipeline and the text it was made of, shared between generations. */
struct shelved_text {
  unsigned references; /* atomic */
  char *text, *summary;
  struct pipeline *pipeline; /* NULL: the text is not right */
};
void shelved_text_unref(struct shelved_text **text);

struct shelved_item {
  struct shelved public;
  struct shelved_text *kept;
};
struct shelf_set {
  unsigned references; /* under the shelf's lock */
  struct shelved_item **items;
  size_t count, problems;
  char digest[65];
};
struct shelf_set *shelf_set_new(void);
void shelf_set_free(struct shelf_set **set);
/* References the text, copies the problems. */
void shelf_set_add(struct shelf_set *set, const char *name, const char *file, struct shelved_text *kept,
                   const struct report *problems);

/* shelf_read.c: everything in the folders; problems are in the set. An error: a folder cannot be read. */
enum err shelf_read(char *const *folders, struct stage_set *stages, struct shelf_set **set, struct error *e);
/* Digest over what is in the folders: names, inodes, sizes, times. */
void shelf_signature(char *const *folders, char hex[65]);
