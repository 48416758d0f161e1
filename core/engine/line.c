#include "engine/line.h"

#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"

enum { LINE_PRIORITIES = 101, LINE_OWNERS = 4096 };

struct rank { /* of one priority, by id: ids sort by time */
  struct line_entry *items;
  size_t count, room;
};

struct line {
  struct rank ranks[LINE_PRIORITIES];
  size_t count;
  uint64_t turn;                 /* grows with every job taken out */
  uint64_t served[LINE_OWNERS]; /* the turn an owner had last; owners that share a slot take turns as one */
};

uint64_t line_digest(const char *name) {
  char hex[65];
  unsigned long long n = 0;
  if (!name) return 0;
  digest_of(name, strlen(name), hex);
  hex[16] = '\0';
  sscanf(hex, "%llx", &n);
  return n ? n : 1;
}

struct line *line_new(void) { return mem_alloc(sizeof(struct line)); }

void line_free(struct line **at) {
  if (!*at) return;
  for (size_t p = 0; p < LINE_PRIORITIES; p++) free((*at)->ranks[p].items);
  free(*at);
  *at = NULL;
}

static size_t priority_of(int32_t priority) { return priority < 0 ? 0 : priority > 100 ? 100 : (size_t)priority; }

/* Where the id is, or where it belongs. */
static size_t rank_find(const struct rank *r, const char *id, bool *there) {
  size_t low = 0, high = r->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (strcmp(r->items[middle].id, id) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  *there = low < r->count && strcmp(r->items[low].id, id) == 0;
  return low;
}

static void rank_take(struct rank *r, size_t at) {
  r->count--;
  memmove(&r->items[at], &r->items[at + 1], (r->count - at) * sizeof *r->items);
}

void line_add(struct line *line, const struct line_entry *entry, int32_t priority) {
  struct rank *r = &line->ranks[priority_of(priority)];
  bool there;
  line_remove(line, entry->id);
  size_t at = rank_find(r, entry->id, &there);
  if (r->count == r->room) {
    r->room = r->room ? r->room * 2 : 16;
    r->items = mem_grow(r->items, r->room, sizeof *r->items);
  }
  memmove(&r->items[at + 1], &r->items[at], (r->count - at) * sizeof *r->items);
  r->items[at] = *entry;
  r->count++;
  line->count++;
}

bool line_remove(struct line *line, const char *id) {
  for (size_t p = 0; p < LINE_PRIORITIES; p++) {
    bool there = false;
    size_t at = line->ranks[p].count ? rank_find(&line->ranks[p], id, &there) : 0;
    if (!there) continue;
    rank_take(&line->ranks[p], at);
    line->count--;
    return true;
  }
  return false;
}

size_t line_count(const struct line *line) { return line->count; }

static size_t line_above(const struct line *line, size_t priority) {
  size_t sum = 0;
  for (size_t p = priority + 1; p < LINE_PRIORITIES; p++) sum += line->ranks[p].count;
  return sum;
}

size_t line_position(const struct line *line, const char *id, int32_t priority) {
  bool there;
  size_t at = rank_find(&line->ranks[priority_of(priority)], id, &there);
  return there ? line_above(line, priority_of(priority)) + at + 1 : 0;
}

size_t line_before(const struct line *line, int32_t priority) {
  return line_above(line, priority_of(priority)) + line->ranks[priority_of(priority)].count;
}

/* Of the owner who had a turn longest ago, the oldest. */
static size_t rank_next(const struct line *line, const struct rank *r, line_may *may, void *context) {
  size_t best = SIZE_MAX;
  uint64_t best_turn = UINT64_MAX;
  for (size_t i = 0; i < r->count && best_turn; i++) {
    uint64_t turn = line->served[r->items[i].owner % LINE_OWNERS];
    if (turn >= best_turn || !may(context, &r->items[i])) continue;
    best = i;
    best_turn = turn;
  }
  return best;
}

bool line_next(struct line *line, line_may *may, void *context, char id[32]) {
  for (size_t p = LINE_PRIORITIES; p-- > 0;) {
    struct rank *r = &line->ranks[p];
    size_t at = r->count ? rank_next(line, r, may, context) : SIZE_MAX;
    if (at == SIZE_MAX) continue;
    line->served[r->items[at].owner % LINE_OWNERS] = ++line->turn;
    memcpy(id, r->items[at].id, sizeof r->items[at].id);
    rank_take(r, at);
    line->count--;
    return true;
  }
  return false;
}

size_t line_group(const struct line *line, uint64_t group, char (*ids)[32], size_t most) {
  size_t found = 0;
  for (size_t p = 0; p < LINE_PRIORITIES; p++)
    for (size_t i = 0; i < line->ranks[p].count && found < most; i++)
      if (line->ranks[p].items[i].group == group) memcpy(ids[found++], line->ranks[p].items[i].id, 32);
  return found;
}
