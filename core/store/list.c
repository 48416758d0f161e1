/* Listing jobs: newest first through the indices, or open ones in the order they should run. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store/inner.h"
#include "store/select.h"

enum { PAGE_DEFAULT = 100, PAGE_MAX = 1000 };

static bool filter_is_sane(const struct job_filter *f) {
  const char *const names[] = {f->pipeline, f->owner, f->asset, f->batch};
  for (size_t i = 0; i < 4; i++)
    if (names[i] && strlen(names[i]) > NAME_BYTES_MAX) return false;
  return !f->before_id || strlen(f->before_id) < STORE_ID_MAX;
}

static struct job_record *list_add(struct job_list *l) {
  if ((l->count & (l->count - 1)) == 0) l->items = mem_grow(l->items, l->count ? l->count * 2 : 1, sizeof(*l->items));
  return &l->items[l->count++];
}

enum err store_jobs(struct store *s, const struct job_filter *f, struct job_list *jobs, struct error *e) {
  struct tx tx;
  struct selection found;
  char id[STORE_ID_MAX];
  size_t limit = f->limit ? f->limit : PAGE_DEFAULT;
  if (limit > PAGE_MAX) limit = PAGE_MAX;
  *jobs = (struct job_list){0};
  if (!filter_is_sane(f)) return ERR_OK; /* no job can have such a name */
  enum err status = read_begin(&s->db, &tx, e);
  if (status) return status;
  selection_open(&found, &tx, f);
  while (jobs->count < limit && selection_next(&found, id)) {
    struct job_record job;
    if (!job_load(&tx, id, &job)) break;
    if (job.created_us >= f->since_us) {
      spec_load(&tx, &job);
      *list_add(jobs) = job;
    } else {
      job_record_clear(&job);
    }
  }
  selection_close(&found);
  status = read_end(&tx, e);
  if (status) job_list_clear(jobs);
  return status;
}

/* Jobs of an index whose keys end in what key_open makes, `skip` rows left out. */
static enum err list_ranked(struct store *s, enum db db, const struct key *prefix, size_t skip, size_t limit,
                            struct job_list *jobs, struct error *e) {
  struct tx tx;
  struct scan scan;
  const size_t offset = prefix->size + 9;
  *jobs = (struct job_list){0};
  enum err status = read_begin(&s->db, &tx, e);
  if (status) return status;
  bool more = scan_first(&scan, &tx, db, prefix);
  for (; more && skip; skip--) more = scan_next(&scan);
  for (; more && jobs->count < limit; more = scan_next(&scan)) {
    char id[STORE_ID_MAX] = "";
    if (scan.key.mv_size <= offset || scan.key.mv_size - offset >= sizeof(id)) continue;
    memcpy(id, (const char *)scan.key.mv_data + offset, scan.key.mv_size - offset);
    struct job_record *job = list_add(jobs);
    if (job_load(&tx, id, job))
      spec_load(&tx, job);
    else
      jobs->count--;
  }
  scan_end(&scan);
  status = read_end(&tx, e);
  if (status) job_list_clear(jobs);
  return status;
}

enum err store_open_jobs(struct store *s, struct job_list *jobs, struct error *e) {
  const struct key all = {.size = 0};
  return list_ranked(s, DB_OPEN, &all, 0, SIZE_MAX, jobs, e);
}

enum err store_waiting_jobs(struct store *s, size_t skip, size_t limit, struct job_list *jobs, struct error *e) {
  const struct key all = key_waiting(NULL);
  return list_ranked(s, DB_INDEX, &all, skip, limit, jobs, e);
}
