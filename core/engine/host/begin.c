/* How an attempt begins: what it is given, and START. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "host/parts.h"

static void give(struct attempt *a, int fd) { a->gifts[a->gift_count++] = fd; }

/* ---- memory both sides see ---- */

/* The size of both is sealed: a file that shrinks under a mapping kills whoever looks at it. */
static int sealed_memory(const char *name, const void *data, size_t size, int seals, struct error *e) {
  int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  bool made = fd >= 0 && ftruncate(fd, (off_t)size) == 0;
  for (size_t done = 0; made && data && done < size;) {
    ssize_t n = pwrite(fd, (const char *)data + done, size - done, (off_t)done);
    made = n > 0;
    done += made ? (size_t)n : 0;
  }
  if (made && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | seals) == 0) return fd;
  error_errno(e, errno, "cannot make the shared memory of an attempt");
  fd_close_at(&fd);
  return -1;
}

static enum err make_page(struct attempt *a, struct error *e) {
  int fd = sealed_memory("stagemill-page", NULL, sizeof(struct page), 0, e);
  if (fd < 0) return e->code;
  give(a, fd);
  void *page = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) return error_errno(e, errno, "cannot map the page of an attempt");
  a->page = page;
  for (uint32_t i = 0; i < UNIT_STAGES_MAX; i++) {
    atomic_store(&a->page->stages[i].fraction_ppm, UINT32_MAX);
    a->progress.stages[i].fraction = -1;
  }
  return ERR_OK;
}

static enum err make_unit(struct attempt *a, const struct unit *unit, struct error *e) {
  buf_auto struct buf packed = {0};
  unit_pack(&packed, unit);
  enum err err = unit_unpack(packed.data, packed.size, &a->unit, e); /* our copy, and a check of what was packed */
  if (err) return err;
  int fd = sealed_memory("stagemill-unit", packed.data, packed.size, F_SEAL_WRITE, e);
  memset(packed.data, 0, packed.size); /* may hold secrets */
  if (fd < 0) return e->code;
  give(a, fd);
  return ERR_OK;
}

static enum err make_streams(struct attempt *a, const struct attempt_start *start, struct error *e) {
  int out = -1, err_end = -1;
  struct loglines_options options = {a->crew->loop, start->log_path, a->crew->log_limit_bytes};
  enum err err = loglines_open(&a->lines, &options, &out, &err_end, e);
  if (out >= 0) give(a, out);
  if (err_end >= 0) give(a, err_end);
  return err;
}

static enum err make_slots(struct attempt *a, const struct attempt_start *start, struct error *e) {
  for (uint32_t i = 0; i < start->slot_count; i++) {
    int fd = fcntl(start->slots[i], F_DUPFD_CLOEXEC, 3);
    if (fd < 0) return error_errno(e, errno, "cannot hand over an input of the attempt");
    give(a, fd);
  }
  return ERR_OK;
}

static void on_socket(void *context, int fd, uint32_t events) {
  struct attempt *a = context;
  (void)fd;
  (void)events;
  attempt_hear(a, MESSAGES_PER_TURN);
  if (a->unheard) attempt_settle(a);
}

static enum err make_socket(struct attempt *a, struct error *e) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return error_errno(e, errno, "cannot make the socket of an attempt");
  a->socket = pair[0];
  give(a, pair[1]);
  fcntl(a->socket, F_SETFL, O_NONBLOCK);
  a->socket_watch = loop_watch(a->crew->loop, a->socket, EPOLLIN, on_socket, a);
  return a->socket_watch ? ERR_OK : error_errno(e, errno, "cannot watch the socket of an attempt");
}

/* The order is that of START. */
static enum err make_gifts(struct attempt *a, const struct attempt_start *start, struct error *e) {
  enum err err = make_socket(a, e);
  if (!err) err = make_page(a, e);
  if (!err) err = make_unit(a, start->unit, e);
  if (!err) err = make_streams(a, start, e);
  if (err) return err;
  int procs = -1;
  if (a->memory_bytes > 0) a->cgroup = cgroup_new(a->memory_bytes, a->serial, &procs);
  if (a->cgroup) give(a, procs);
  return make_slots(a, start, e);
}

/* ---- START ---- */

static int64_t largest_quota(const struct unit *unit) {
  int64_t largest = 0;
  for (uint32_t i = 0; i < unit->stage_count; i++) {
    if (unit->stages[i].scratch_quota_bytes <= 0) return 0; /* one stage without a bound: no bound for the process */
    if (unit->stages[i].scratch_quota_bytes > largest) largest = unit->stages[i].scratch_quota_bytes;
  }
  return largest;
}

enum err attempt_send_start(struct attempt *a, struct error *e) {
  value_auto struct value *body = value_map();
  value_set_int(body, "serial", a->serial);
  value_set_bool(body, "fresh", a->fresh);
  value_set_bool(body, "cgroup", a->cgroup != NULL);
  value_set_int(body, "memory", a->memory_bytes);
  value_set_int(body, "fileBytes", largest_quota(a->unit));
  value_set_int(body, "uid", a->crew->uid);
  value_set_int(body, "gid", a->crew->gid);
  enum err err = control_send(a->zygote->control, CONTROL_START, body, a->gifts, a->gift_count, e);
  if (err) return err;
  for (size_t i = 0; i < a->gift_count; i++) fd_close_at(&a->gifts[i]);
  a->gift_count = 0;
  a->phase = PHASE_SENT;
  a->started_us = a->life_us = crew_now(a->crew);
  return ERR_OK;
}

/* ---- choosing where ---- */

/* Fresh when one of its plugins cannot be forked warm; with libav when one of them, or the pass itself, needs it. */
static enum err choose(struct attempt *a, bool *with_libav, struct error *e) {
  struct crew *crew = a->crew;
  *with_libav = a->unit->kind == UNIT_PASS || (a->unit->kind == UNIT_PLAN && a->unit->source);
  for (uint32_t i = 0; i < a->unit->stage_count; i++) {
    const struct unit_stage *stage = &a->unit->stages[i];
    if (stage->done) continue;
    const struct plugin_record *record = stage->plugin_path ? catalogue_find(crew->catalogue, stage->plugin_path) : NULL;
    if (!record || record->state != PLUGIN_LOADED)
      return error_set(e, ERR_INVALID, "stage `%s` needs the plugin %s, which cannot be used: %s", stage->id,
                       stage->plugin_path ? stage->plugin_path : "(none)",
                       record && record->reason ? record->reason : "it is not in a plugin folder any more");
    if (record->uses_libav) *with_libav = true;
    if (record->threads > 1 || crew_keeps_out(crew, record->path)) a->fresh = true;
    a->stages[i].type = stage_set_find(a->stage_set, stage->uses);
  }
  return ERR_OK;
}

static void on_timeout(void *context) {
  struct attempt *a = context;
  a->timeout = NULL;
  attempt_stop(a, ATTEMPT_TIMED_OUT, 1, "the attempt took longer than its time-out allows: raise `timeout`, or make the "
               "work smaller");
}

static enum err check_start(const struct attempt_start *start, struct error *e) {
  const struct unit *unit = start->unit;
  if (!unit || unit->stage_count == 0 || unit->stage_count > UNIT_STAGES_MAX || start->slot_count > UNIT_SLOTS_MAX)
    return error_set(e, ERR_INVALID, "an attempt of %u stages and %u inputs cannot be started (1-%d stages, at most %d)",
                     unit ? unit->stage_count : 0, start->slot_count, UNIT_STAGES_MAX, UNIT_SLOTS_MAX);
  return ERR_OK;
}

static struct attempt *new_attempt(struct crew *crew, const struct attempt_start *start) {
  struct attempt *a = mem_alloc(sizeof(*a));
  a->crew = crew;
  a->serial = ++crew->serial;
  a->socket = a->attempt_pidfd = a->keeper_pidfd = -1;
  a->pid = -1;
  a->suspect = -1;
  a->phase = PHASE_QUEUED;
  a->stage_set = stage_set_ref(catalogue_stages(crew->catalogue));
  a->stages = mem_array(start->unit->stage_count, sizeof(*a->stages));
  a->verdicts = mem_array(start->unit->stage_count, sizeof(*a->verdicts));
  a->stall_us = start->stall_us ? start->stall_us : crew->stall_us;
  a->memory_bytes = start->memory_limit_bytes ? start->memory_limit_bytes : start->unit->memory_limit_bytes;
  a->started_us = a->life_us = crew_now(crew);
  return a;
}

static void append(struct crew *crew, struct attempt *a) {
  struct attempt **at = &crew->attempts;
  while (*at) at = &(*at)->next;
  *at = a;
}

enum err crew_start(struct crew *crew, const struct attempt_start *start, const struct attempt_callbacks *callbacks,
                    void *context, struct attempt **attempt, struct error *e) {
  struct error own;
  bool with_libav = false;
  if (!e) e = &own;
  enum err err = check_start(start, e);
  if (err) return err;
  struct attempt *a = new_attempt(crew, start);
  a->callbacks = *callbacks;
  a->context = context;
  err = make_gifts(a, start, e);
  if (!err) err = choose(a, &with_libav, e);
  struct zygote *z = with_libav ? &crew->libav : &crew->plain;
  if (!err) err = zygote_want(z, e);
  if (err) {
    attempt_free(&a);
    return err;
  }
  a->zygote = z;
  if (start->timeout_us > 0) a->timeout = loop_after(crew->loop, start->timeout_us, on_timeout, a);
  append(crew, a);
  *attempt = a;
  zygote_pump_soon(z); /* not now: `ended` must not come before this call has returned */
  return ERR_OK;
}
