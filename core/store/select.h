/* select.h - ids of jobs that several lists have in common, newest first. Private to core/store.
 *
 * Every condition of a filter is a list of ids in descending order: one index prefix, or several merged (one for each
 * status asked for). The lists are walked together and leap over what the others do not have, so that the cost follows
 * the shortest of them and no job is read in vain. */
#pragma once
#include "store/inner.h"

enum { STRANDS_MAX = 8, LISTS_MAX = 5 };

struct strand { /* rows with a common prefix; ids stand behind it */
  MDB_cursor *cursor;
  struct key prefix;
  MDB_val key;
  bool over;
};

struct id_list {
  struct strand strands[STRANDS_MAX];
  size_t count;
};

struct selection {
  struct tx *tx;
  struct id_list lists[LISTS_MAX];
  size_t count;
  bool started;
};
/* Jobs older than f->before_id (NULL: all) that have the filter's names and statuses. Whether they are as recent as the
 * filter wants is not looked at. */
void selection_open(struct selection *s, struct tx *tx, const struct job_filter *f);
bool selection_next(struct selection *s, char id[STORE_ID_MAX]); /* give back what it last wrote */
void selection_close(struct selection *s);
