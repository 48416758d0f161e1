#include "service/sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "engine/door.h"

enum { EXPIRE_KINDS = 8, EXPIRE_PAGE = 500, JOB_ID_SIZE = 26, FIRST_SWEEP_US = 5 * 1000 * 1000 };
static const int64_t MINUTE_US = 60 * 1000000LL;
/* A folder is made before its job is stored: what is younger may belong to a job that is just being submitted. */
static const int64_t ORPHAN_AGE_S = 600;

struct expiry {
  enum side_kind kind;
  sweep_hook *hook;
};

struct sweep {
  struct service *service;
  struct pool *pool;
  struct loop_timer *timer;
  int64_t every_us;
  bool running, again;
  struct expiry expiries[EXPIRE_KINDS]; /* filled in before the first sweep */
  size_t expiry_count;
  uint64_t orphans, expired; /* of the sweep that runs */
};

/* ---- in the thread ----------------------------------------------------------------------------------------------- */

static bool is_job_id(const char *name) {
  return strspn(name, "0123456789abcdefghijklmnopqrstuvwxyz") == JOB_ID_SIZE && !name[JOB_ID_SIZE];
}

static bool is_orphan(struct sweep *sweep, int folder, const char *name) {
  struct stat st;
  struct job_record job = {0};
  if (!is_job_id(name) || fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode)) return false;
  if (clock_wall(&clock_system) / 1000000 - st.st_mtim.tv_sec < ORPHAN_AGE_S) return false;
  enum err err = store_job(sweep->service->store, name, &job, NULL);
  job_record_clear(&job);
  return err == ERR_NOT_FOUND;
}

static void sweep_outputs(struct sweep *sweep) {
  fd_auto int folder = open(sweep->service->outputs_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *entries = folder < 0 ? NULL : fdopendir(fcntl(folder, F_DUPFD_CLOEXEC, 0));
  for (struct dirent *entry; entries && (entry = readdir(entries));) {
    struct error e = {0};
    if (!is_orphan(sweep, folder, entry->d_name)) continue;
    if (fs_remove_tree(folder, entry->d_name, &e))
      log_warning("cannot remove what job %s had published: %s", entry->d_name, e.message);
    else
      sweep->orphans++;
  }
  if (entries) closedir(entries);
}

static bool expire_one(struct sweep *sweep, const struct expiry *expiry, const struct side_record *record) {
  struct error e = {0};
  if (expiry->hook && expiry->hook(sweep->service, record, &e)) {
    log_warning("cannot remove %s, which has expired: %s", record->id, e.message);
    return false;
  }
  struct side_record key = {.kind = record->kind, .id = record->id};
  struct side_change change = {.record = &key, .expected_version = record->version, .remove = true};
  store_side(sweep->service->store, &change, 1, NULL, NULL); /* changed meanwhile: it stays */
  return true;
}

static void sweep_expired(struct sweep *sweep, const struct expiry *expiry) {
  struct side_filter filter = {.kind = expiry->kind, .due_until_us = clock_wall(&clock_system), .limit = EXPIRE_PAGE};
  struct side_list list = {0};
  struct error e = {0};
  if (store_sides(sweep->service->store, &filter, &list, &e))
    log_warning("cannot look for what has expired: %s", e.message);
  for (size_t i = 0; i < list.count; i++) sweep->expired += expire_one(sweep, expiry, &list.items[i]);
  sweep->again |= list.count == EXPIRE_PAGE;
  side_list_clear(&list);
}

static void sweep_work(void *context) {
  struct sweep *sweep = context;
  for (size_t i = 0; i < sweep->expiry_count; i++) sweep_expired(sweep, &sweep->expiries[i]);
  sweep_outputs(sweep);
}

/* ---- on the loop ------------------------------------------------------------------------------------------------- */

static void sweep_begin(void *context);

static void sweep_worked(void *context) {
  struct sweep *sweep = context;
  if (!sweep->pool) return; /* stopped meanwhile */
  if (sweep->orphans || sweep->expired)
    log_info("swept: %llu expired records, outputs of %llu removed jobs", (unsigned long long)sweep->expired,
             (unsigned long long)sweep->orphans);
  sweep->running = false;
  sweep->timer = loop_after(sweep->service->loop, sweep->again ? 0 : sweep->every_us, sweep_begin, sweep);
  sweep->again = false;
}

static void sweep_pruned(void *context, const struct value *answer) {
  struct sweep *sweep = context;
  int64_t removed = value_get_int(answer, "removed", 0);
  if (!sweep->pool) return;
  if (!value_get_bool(answer, "ok", false))
    log_warning("retention: %s", value_get_text(answer, "message", "the store did not answer"));
  if (removed) log_info("retention: removed %lld ended jobs", (long long)removed);
  pool_submit(sweep->pool, sweep_work, sweep_worked, sweep);
}

static struct value *sweep_retention(struct sweep *sweep) {
  const struct settings *settings = settings_hold(sweep->service->settings);
  struct value *request = value_map();
  value_set_text(request, "op", "prune");
  value_set_int(request, "completedAgeUs", settings->retention.completed_us);
  value_set_int(request, "failedAgeUs", settings->retention.failed_us);
  value_set_int(request, "completedCount", (int64_t)settings->retention.completed_count);
  value_set_int(request, "failedCount", (int64_t)settings->retention.failed_count);
  settings_release(sweep->service->settings, &settings);
  return request;
}

/* Retention first: what it removes leaves outputs behind. The engine does it, which knows what else belongs to a job.
 */
static void sweep_begin(void *context) {
  struct sweep *sweep = context;
  sweep->timer = NULL;
  sweep->running = true;
  sweep->orphans = sweep->expired = 0;
  value_auto struct value *request = sweep_retention(sweep);
  door_answer(sweep->service->engine, request, sweep_pruned, sweep);
}

void sweep_soon(struct sweep *sweep) {
  sweep->again |= sweep->running;
  if (sweep->running) return;
  loop_cancel(sweep->service->loop, &sweep->timer);
  sweep->timer = loop_after(sweep->service->loop, 0, sweep_begin, sweep);
}

void sweep_expire(struct sweep *sweep, enum side_kind kind, sweep_hook *hook) {
  if (sweep->expiry_count < EXPIRE_KINDS) sweep->expiries[sweep->expiry_count++] = (struct expiry){kind, hook};
}

enum err sweep_create(struct sweep **out, const struct sweep_options *options, struct error *e) {
  struct sweep *sweep = mem_alloc(sizeof *sweep);
  *sweep = (struct sweep){.service = options->service, .every_us = options->every_us ? options->every_us : MINUTE_US};
  if (pool_create(&sweep->pool, options->service->loop, 1, e)) {
    free(sweep);
    return e->code;
  }
  sweep_expire(sweep, SIDE_IDEMPOTENCY, NULL);
  sweep_expire(sweep, SIDE_REVOCATION, NULL);
  sweep_expire(sweep, SIDE_CREDENTIAL, NULL);
  sweep->timer = loop_after(options->service->loop, FIRST_SWEEP_US, sweep_begin, sweep);
  *out = sweep;
  return ERR_OK;
}

void sweep_stop(struct sweep *sweep) {
  if (!sweep) return;
  loop_cancel(sweep->service->loop, &sweep->timer);
  pool_destroy(&sweep->pool);
}

void sweep_destroy(struct sweep **at) {
  if (!*at) return;
  sweep_stop(*at);
  free(*at);
  *at = NULL;
}
