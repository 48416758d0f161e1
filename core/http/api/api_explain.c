/* api_explain.c - why a job is where it is, from what is stored, and what would make it go on: for programs as lists, for people
 * as sentences. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/parts.h"
#include "base/clock.h"
#include "base/mem.h"

enum { TAIL_BYTES = 2000, TAIL_LINES = 5 };

static bool lists(const char *ids, const char *id) {
  size_t size = strlen(id);
  for (; ids; ids = strchr(ids, ',') ? strchr(ids, ',') + 1 : NULL)
    if (!strncmp(ids, id, size) && (ids[size] == ',' || !ids[size])) return true;
  return false;
}

/* The last lines of a file; whole ones when there are that many. Owned; NULL: none. */
static char *read_tail(const char *path) {
  char text[TAIL_BYTES + 1];
  fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
  off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
  ssize_t size = end <= 0 ? -1 : pread(fd, text, TAIL_BYTES, end > TAIL_BYTES ? end - TAIL_BYTES : 0);
  while (size > 0 && text[size - 1] == '\n') size--;
  if (size <= 0) return NULL;
  text[size] = '\0';
  char *from = text + size;
  for (size_t lines = 0; from > text; from--)
    if (from[-1] == '\n' && ++lines == TAIL_LINES) break;
  for (char *c = from; *c; c++)
    if ((unsigned char)*c < 0x20 && *c != '\n') *c = ' ';
  return mem_text(from);
}

static void add_log(struct service *service, const char *job, const struct attempt_list *attempts, const char *stage,
                    struct value *detail) {
  for (size_t i = attempts->count; i-- > 0;) {
    const struct attempt_record *a = &attempts->items[i];
    if (!a->stages || !lists(a->stages, stage)) continue;
    mem_auto char *path = mem_format("%s/jobs/%s/logs/%llu.log", service->state_folder, job, (unsigned long long)a->fence);
    mem_auto char *href = mem_format("/api/v1/jobs/%s/logs/%llu", job, (unsigned long long)a->fence);
    mem_auto char *tail = read_tail(path);
    if (tail) value_set_text(detail, "logTail", tail);
    if (tail) value_set_text(detail, "log", href);
    return;
  }
}

/* ---- a stage --------------------------------------------------------------------------------------------------------------- */

static char *sentence(const struct stage_record *s) {
  char at[32];
  const char *reason = s->reason && *s->reason ? s->reason : NULL;
  switch (s->status) {
  case STAGE_RUNNING: return mem_format("%s is running, since %s", s->stage, clock_format(s->started_us, at));
  case STAGE_PUBLISHING: return mem_format("%s is done, its files are being published", s->stage);
  case STAGE_WAITING: return mem_format("%s has not started%s%s", s->stage, reason ? ": " : "", reason ? reason : "");
  case STAGE_DELAYED:
    return mem_format("%s waits for its next attempt until %s, after %u failed", s->stage, clock_format(s->not_before_us, at),
                      s->attempts);
  case STAGE_SKIPPED: return mem_format("%s was skipped%s%s", s->stage, reason ? ": " : "", reason ? reason : "");
  case STAGE_FAILED:
  case STAGE_SOFT_FAILED:
    return s->attempts ? mem_format("%s failed after %u attempt%s", s->stage, s->attempts, s->attempts == 1 ? "" : "s")
                       : mem_format("%s failed", s->stage);
  case STAGE_CANCELLED: return mem_format("%s was cancelled", s->stage);
  case STAGE_HELD: return mem_format("%s %s", s->stage, reason ? reason : "waits for a person");
  case STAGE_FINISHED: return NULL;
  }
  return NULL;
}

static void add_stage(struct exchange *x, const char *job, const struct stage_record *s, const struct attempt_list *attempts,
                      struct value *details) {
  mem_auto char *text = sentence(s);
  if (!text) return;
  struct value *v = value_map();
  value_auto struct value *error = api_parsed(s->error_json);
  bool trouble = s->status == STAGE_FAILED || s->status == STAGE_SOFT_FAILED || s->status == STAGE_DELAYED;
  value_set_text(v, "stage", s->stage);
  value_set_text(v, "status", stage_status_word(s->status));
  value_set_text(v, "text", text);
  if (value_get_text(error, "message", NULL)) value_set_text(v, "error", value_get_text(error, "message", NULL));
  if (value_get_text(error, "code", NULL)) value_set_text(v, "code", value_get_text(error, "code", NULL));
  if (api_is_admin(x) && value_get_text(error, "debug", NULL)) value_set_text(v, "debug", value_get_text(error, "debug", NULL));
  if (s->status == STAGE_DELAYED) api_set_time(v, "retryAt", s->not_before_us);
  if (trouble) add_log(api_service(x), job, attempts, s->stage, v);
  value_list_add(details, v);
}

/* ---- the job ----------------------------------------------------------------------------------------------------------------- */

static const char *next_step(const struct job_record *job) {
  switch (job->status) {
  case JOB_QUEUED: return "it starts by itself when its turn comes; a higher priority brings it forward";
  case JOB_PROCESSING: return job->cancel_requested ? "it ends as soon as its stage has stopped" : "nothing is needed: it is at work";
  case JOB_RETRYING: return "nothing is needed: it is tried again by itself";
  case JOB_HELD: return "POST .../release lets go of a stage that waits for a person; whatever else holds it is in the reason";
  case JOB_PAUSED: return "POST .../resume lets it go on before its time";
  case JOB_FAILED: return "POST .../retry gives the stages that did not finish another round, with other parameters if need be";
  case JOB_CANCELLED: return "POST .../retry takes it up again; finished stages are kept";
  case JOB_COMPLETED: break;
  }
  return "nothing is needed: it is done";
}

static void set_reason(struct exchange *x, const struct job_record *job, struct value *v) {
  value_auto struct value *error = api_parsed(job->error_json);
  mem_auto char *wait = api_wait_reason(x, job);
  const char *reason = wait;
  if (job->cancel_requested && !job_status_is_terminal(job->status)) reason = "it is being cancelled";
  value_set_text(v, "reason", reason ? reason : value_get_text(error, "message", NULL));
}

static void job_explain(struct exchange *x) {
  struct job_record job = {0};
  struct stage_list stages = {0};
  struct attempt_list attempts = {0};
  struct error e = {0};
  if (!api_job_seen(x, &job)) return;
  struct store *store = api_service(x)->store;
  value_auto struct value *v = value_map();
  struct value *details = value_list();
  value_set_text(v, "id", job.id);
  value_set_text(v, "status", job_status_word(job.status));
  set_reason(x, &job, v);
  value_map_set(v, "details", details);
  value_set_text(v, "nextStep", next_step(&job));
  if (store_stages(store, job.id, &stages, &e) || store_attempts(store, job.id, &attempts, &e)) {
    http_error(x, &e);
  } else {
    for (size_t i = 0; i < stages.count; i++) add_stage(x, job.id, &stages.items[i], &attempts, details);
    http_json(x, 200, v);
  }
  stage_list_clear(&stages);
  attempt_list_clear(&attempts);
  job_record_clear(&job);
}

static const struct route routes[] = {
    {"GET", "/api/v1/jobs/{id}/explain", SCOPE_READ, 0, job_explain, "explainJob"},
};
const struct api_table api_explain = API_TABLE(routes);
