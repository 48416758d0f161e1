#include "facts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

bool facts_add(struct facts *facts, const char *line) {
  struct fact f = {0};
  int got = sscanf(line, "%c %63s %63s %" SCNu64, &f.kind, f.job, f.stage, &f.fence);
  if (got < 2 || !strchr("SBFE", f.kind) || (strchr("BF", f.kind) && got != 4)) return false;
  if ((facts->count & (facts->count - 1)) == 0)
    facts->items = mem_grow(facts->items, facts->count ? facts->count * 2 : 1, sizeof(f));
  facts->items[facts->count++] = f;
  return true;
}

static int wrong(const struct fact *f, const char *what) {
  fprintf(stderr, "%c %s %s %" PRIu64 ": %s\n", f->kind, f->job, f->stage, f->fence, what);
  return 1;
}

static int check_begun(const struct fact *f, struct store *store) {
  struct attempt_list attempts;
  if (store_attempts(store, f->job, &attempts, NULL)) return wrong(f, "the job is gone");
  bool found = false;
  for (size_t i = 0; i < attempts.count; i++)
    found |= attempts.items[i].fence == f->fence && strcmp(attempts.items[i].stages, f->stage) == 0;
  attempt_list_clear(&attempts);
  return found ? 0 : wrong(f, "the attempt is gone");
}

static bool ran_again(struct store *store, const struct fact *f) {
  struct attempt_list attempts;
  bool again = false;
  if (store_attempts(store, f->job, &attempts, NULL)) return true;
  for (size_t i = 0; i < attempts.count; i++)
    again |= strcmp(attempts.items[i].stages, f->stage) == 0 && attempts.items[i].fence > f->fence;
  attempt_list_clear(&attempts);
  return again;
}

static int check_finished(const struct fact *f, struct store *store) {
  struct stage_list stages;
  char result[64];
  bool found = false;
  snprintf(result, sizeof(result), "{\"fence\":%" PRIu64 "}", f->fence);
  if (store_stages(store, f->job, &stages, NULL)) return wrong(f, "the job is gone");
  for (size_t i = 0; i < stages.count; i++) {
    const struct stage_record *s = &stages.items[i];
    if (strcmp(s->stage, f->stage) != 0) continue;
    found =
        s->status == STAGE_FINISHED && s->fence == f->fence && s->result_json && strcmp(s->result_json, result) == 0;
  }
  stage_list_clear(&stages);
  if (!found) return wrong(f, "the stage is not finished by that attempt");
  return ran_again(store, f) ? wrong(f, "the finished stage ran again") : 0;
}

static int check_fact(const struct fact *f, struct store *store) {
  struct job_record job = {0};
  if (f->kind == 'B') return check_begun(f, store);
  if (f->kind == 'F') return check_finished(f, store);
  if (store_job(store, f->job, &job, NULL)) return wrong(f, "the job is gone");
  int bad = f->kind == 'E' && job.status != JOB_COMPLETED ? wrong(f, "the job has not ended") : 0;
  job_record_clear(&job);
  return bad;
}

/* seq contiguous from 1, one end at most, each stage finished once at most. */
static int check_events(const char *job, struct store *store) {
  uint64_t seen = 0;
  int ends = 0, finished = 0, bad = 0;
  for (;;) {
    struct event_list events;
    if (store_events(store, job, seen, 1000, &events, NULL)) return 1;
    size_t count = events.count;
    for (size_t i = 0; i < count; i++) {
      bad += events.items[i].seq != ++seen;
      ends += strcmp(events.items[i].type, "completed") == 0;
      finished += events.items[i].body_json && strstr(events.items[i].body_json, "\"finished\"");
    }
    event_list_clear(&events);
    if (!count) break;
  }
  if (bad || ends > 1 || finished > 2)
    fprintf(stderr, "job %s: %d gaps, %d ends, %d stages finished\n", job, bad, ends, finished);
  return bad || ends > 1 || finished > 2;
}

static int compare_texts(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int check_jobs(struct store *store) {
  struct job_filter filter = {.limit = 1000};
  char before[STORE_ID_MAX] = "", **identities = NULL;
  size_t total = 0;
  int bad = 0;
  for (;;) {
    struct job_list jobs;
    if (store_jobs(store, &filter, &jobs, NULL) || jobs.count == 0) break;
    identities = mem_grow(identities, total + jobs.count, sizeof(*identities));
    for (size_t i = 0; i < jobs.count; i++) {
      identities[total++] = mem_text(jobs.items[i].identity);
      bad += check_events(jobs.items[i].id, store);
    }
    snprintf(before, sizeof(before), "%s", jobs.items[jobs.count - 1].id);
    filter.before_id = before;
    job_list_clear(&jobs);
  }
  if (total) qsort(identities, total, sizeof(*identities), compare_texts);
  for (size_t i = 1; i < total; i++)
    if (strcmp(identities[i - 1], identities[i]) == 0) bad += fprintf(stderr, "%s is there twice\n", identities[i]) > 0;
  for (size_t i = 0; i < total; i++) free(identities[i]);
  free(identities);
  return bad;
}

static int compare_fences(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

/* A number given out twice would let a dead attempt pass for a living one. */
static int check_fences(const struct facts *facts) {
  mem_auto uint64_t *fences = mem_array(facts->count, sizeof(*fences));
  size_t count = 0;
  int bad = 0;
  for (size_t i = 0; i < facts->count; i++)
    if (facts->items[i].kind == 'B') fences[count++] = facts->items[i].fence;
  qsort(fences, count, sizeof(*fences), compare_fences);
  for (size_t i = 1; i < count; i++) bad += fences[i] == fences[i - 1];
  if (bad) fprintf(stderr, "%d fencing numbers were given out twice\n", bad);
  return bad;
}

int facts_check(const struct facts *facts, struct store *store) {
  int bad = check_fences(facts) + check_jobs(store);
  for (size_t i = 0; i < facts->count; i++) bad += check_fact(&facts->items[i], store);
  return bad;
}
