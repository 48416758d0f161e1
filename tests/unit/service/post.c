#include "post.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

#pragma GCC diagnostic ignored "-Wcast-qual"

extern char **environ;

/* ---- a server of its own
 * ------------------------------------------------------------------------------------------------------------ */

void receiver_start(struct receiver *r, const char *const *args) {
  int in[2], out[2];
  char *argv[12] = {(char *)"/usr/bin/python3", (char *)RECEIVERS};
  for (int i = 0; args[i] && i < 9; i++) argv[i + 2] = (char *)args[i];
  assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  assert_int_equal(posix_spawn(&r->pid, argv[0], &actions, NULL, argv, environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  close(in[0]);
  close(out[1]);
  r->in = in[1];
  r->out = out[0];
  value_auto struct value *first = receiver_next(r, 60000);
  assert_non_null(first);
  r->port = (int)value_get_int(first, "port", 0);
}

void receiver_stop(struct receiver *r) {
  if (!r->pid) return;
  close(r->in);
  kill(r->pid, SIGKILL);
  waitpid(r->pid, NULL, 0);
  close(r->out);
  *r = (struct receiver){0};
}

struct value *receiver_next(struct receiver *r, int wait_ms) {
  for (;;) {
    char *end = memchr(r->text, '\n', r->size);
    if (end) {
      struct value *v = NULL;
      size_t used = (size_t)(end - r->text) + 1;
      if (value_from_json(r->text, used - 1, &v, NULL)) fail_msg("%.*s", (int)used, r->text);
      memmove(r->text, r->text + used, r->size -= used);
      return v;
    }
    struct pollfd p = {.fd = r->out, .events = POLLIN};
    if (poll(&p, 1, wait_ms) <= 0) return NULL;
    ssize_t n = read(r->out, r->text + r->size, sizeof r->text - r->size);
    if (n <= 0) return NULL;
    r->size += (size_t)n;
  }
}

/* ---- store and notifier
 * ------------------------------------------------------------------------------------------------------------- */

static struct settings *settings_of(const char *const *pairs) {
  struct settings *s = NULL;
  struct error e = {0};
  struct report *report = report_new();
  value_auto struct value *all = value_map();
  for (; *pairs; pairs += 2) value_set_text(all, pairs[0], pairs[1]);
  if (settings_load(&s, NULL, all, report, &e)) fail_msg("%s", e.message);
  report_free(&report);
  return s;
}

int post_begin(void **state) {
  static const char *const none[] = {NULL};
  struct post *p = mem_alloc(sizeof *p);
  struct error e = {0};
  snprintf(p->folder, sizeof p->folder, "/tmp/stagemill-post-XXXXXX");
  if (!mkdtemp(p->folder)) return -1;
  struct store_options options = {.folder = p->folder};
  if (store_open(&p->store, &options, &e)) fail_msg("%s", e.message);
  p->settings = settings_holder_new(settings_of(none));
  *state = p;
  return 0;
}

int post_end(void **state) {
  struct post *p = *state;
  post_close(p);
  receiver_stop(&p->receiver);
  int wrong = store_check(p->store, NULL, NULL, NULL);
  store_close(&p->store);
  settings_holder_free(&p->settings);
  fs_remove_path(p->folder, NULL);
  free(p);
  return wrong;
}

void post_settings(struct post *p, const char *const *pairs) { settings_replace(p->settings, settings_of(pairs)); }

static char *known_secret(void *context, const char *name) {
  (void)context;
  return strcmp(name, "HOOK") == 0   ? mem_text("open sesame")
         : strcmp(name, "MAIL") == 0 ? mem_text("letter-box")
                                     : NULL;
}

void post_open(struct post *p) {
  struct error e = {0};
  struct notify_options options = {
      .store = p->store, .settings = p->settings, .secret = known_secret, .first_delay_us = 50000};
  if (notify_create(&p->notify, &options, &e)) fail_msg("%s", e.message);
}

void post_close(struct post *p) { notify_destroy(&p->notify); }

static void keep_id(void *context, const struct commit *c) { snprintf(context, STORE_ID_MAX, "%s", c->job); }

void post_job(struct post *p, char id[STORE_ID_MAX], const char *extra, const char *event, const char *body) {
  struct job_record job = {
      .pipeline = (char *)"vod", .title = (char *)"film.mp4", .owner = (char *)"ann", .extra_json = (char *)extra};
  struct event_draft queued = {"queued", NULL}, ended = {event, body};
  store_submit(p->store, &job, NULL, 0, &queued, 1, keep_id, id);
  assert_int_equal(store_flush(p->store, NULL), ERR_OK);
  struct job_record values = {.status = JOB_COMPLETED};
  struct change c = {
      .job = id, .job_fields = JOB_SET_STATUS, .job_values = &values, .events = &ended, .event_count = 1};
  store_change(p->store, &c, NULL, NULL);
  assert_int_equal(store_flush(p->store, NULL), ERR_OK);
  if (p->notify) notify_wake(p->notify);
}

static struct value *deliveries(struct post *p, const char *job) {
  struct value *list = NULL;
  char *next = NULL;
  assert_int_equal(notify_list(p->store, &(struct notify_filter){.job = job}, &list, &next, NULL), ERR_OK);
  free(next);
  return list;
}

size_t post_count(struct post *p, const char *job) {
  value_auto struct value *list = deliveries(p, job);
  return list->count;
}

struct value *post_delivery(struct post *p, const char *job, const char *state) {
  for (int i = 0; i < 1000; i++) {
    value_auto struct value *list = deliveries(p, job);
    if (list->count > 1) fail_msg("%zu deliveries where one was wanted", list->count);
    if (list->count && strcmp(value_get_text(list->items[0], "state", ""), state) == 0)
      return value_copy(list->items[0]);
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
  }
  value_auto struct value *list = deliveries(p, job);
  struct buf buf_auto json = {0};
  value_json(&json, list, 0);
  fail_msg("never %s: %s", state, buf_string(&json));
  return NULL;
}
