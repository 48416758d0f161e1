/* Retention: which ended jobs go. Found in pages, removed through the writer, a bounded number a transaction. */
#include <string.h>

#include "base/mem.h"
#include "store/inner.h"

enum { PAGE = 64 };

struct page {
  char ids[PAGE][STORE_ID_MAX];
  size_t count;
};

/* Oldest first. Goes on behind `last`, which is moved; false when the index has no more. */
static bool take_page(struct tx *tx, enum job_status status, char last[STORE_ID_MAX], uint64_t *excess,
                      int64_t cutoff_us, struct page *out) {
  enum { LOOKED_AT_MAX = 4096 }; /* bounds how long a read transaction stays open */
  struct scan s;
  struct key prefix = key_status(status, NULL), from = prefix;
  size_t seen = 0;
  out->count = 0;
  key_add(&from, last, strlen(last));
  bool more = scan_from(&s, tx, DB_INDEX, &prefix, &from);
  for (; more && out->count < PAGE && seen < LOOKED_AT_MAX; more = scan_next(&s), seen++) {
    char id[STORE_ID_MAX] = "";
    struct job_record job;
    size_t size = s.key.mv_size - prefix.size;
    if (size >= sizeof(id)) continue;
    memcpy(id, (const char *)s.key.mv_data + prefix.size, size);
    if (strcmp(id, last) == 0 || !job_load(tx, id, &job)) continue;
    memcpy(last, id, sizeof(id));
    if (*excess || job.ended_us < cutoff_us) memcpy(out->ids[out->count++], id, sizeof(id));
    if (*excess) --*excess;
    job_record_clear(&job);
  }
  scan_end(&s);
  return more;
}

static void delete_page(struct store *s, const struct page *page, uint64_t *removed) {
  for (size_t i = 0; i < page->count; i++) {
    struct request *r = mem_alloc(sizeof(*r));
    r->verb = VERB_DELETE;
    r->job = mem_text(page->ids[i]);
    /* Waiting for each keeps transactions small and lets lifecycle changes in between. One that was tried again in the
     * meantime is refused and stays. */
    if (writer_ask(s, r, NULL) == ERR_OK) ++*removed;
  }
}

static enum err prune_status(struct store *s, enum job_status status, int64_t age_us, uint64_t keep, uint64_t *removed,
                             struct error *e) {
  struct store_counts counts;
  enum err answer = store_counts(s, &counts, e);
  if (answer) return answer;
  uint64_t there = counts.by_status[status], excess = keep && there > keep ? there - keep : 0;
  int64_t cutoff_us = age_us > 0 ? clock_wall(s->clock) - age_us : INT64_MIN;
  char last[STORE_ID_MAX] = "";
  if (!excess && age_us <= 0) return ERR_OK;
  for (bool more = true; more;) {
    struct page page;
    struct tx tx;
    answer = read_begin(&s->db, &tx, e);
    if (answer) return answer;
    more = take_page(&tx, status, last, &excess, cutoff_us, &page);
    answer = read_end(&tx, e);
    if (answer) return answer;
    delete_page(s, &page, removed);
  }
  return ERR_OK;
}

enum err store_prune(struct store *s, const struct store_retention *r, uint64_t *removed, struct error *e) {
  uint64_t count = 0;
  enum err status = prune_status(s, JOB_COMPLETED, r->completed_age_us, r->completed_count, &count, e);
  if (!status) status = prune_status(s, JOB_FAILED, r->failed_age_us, r->failed_count, &count, e);
  if (!status) status = prune_status(s, JOB_CANCELLED, r->failed_age_us, r->failed_count, &count, e);
  if (removed) *removed = count;
  return status;
}
