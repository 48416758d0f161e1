/* line.h - the jobs that wait for a place, in the order in which they are offered one: priority, then turn about between
 * owners, then age. An index over the store in a few dozen bytes a job: what a job is stays on disk until its turn comes.
 *
 * Owners, pipelines and groups are kept as 64-bit digests of their names; 0 stands for none. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct line;
struct line_entry {
  char id[32];
  uint64_t owner, pipeline, group;
};

uint64_t line_digest(const char *name); /* NULL: 0 */
struct line *line_new(void);
void line_free(struct line **line);
/* One that is in it already takes its new place. Priority is clamped to 0-100. */
void line_add(struct line *line, const struct line_entry *entry, int32_t priority);
bool line_remove(struct line *line, const char *id); /* false: it was not in it */
size_t line_count(const struct line *line);
/* From 1; 0: not in it. Turn about between owners may bring a job forward or back by some places. */
size_t line_position(const struct line *line, const char *id, int32_t priority);
/* How many would stand before a new job of this priority. */
size_t line_before(const struct line *line, int32_t priority);
/* Takes the next one out that `may` lets pass. false: there is none. */
typedef bool line_may(void *context, const struct line_entry *entry);
bool line_next(struct line *line, line_may *may, void *context, char id[32]);
/* The ids of one group, oldest first within a priority: at most `most` of them. */
size_t line_group(const struct line *line, uint64_t group, char (*ids)[32], size_t most);
