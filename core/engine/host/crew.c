#include "host/crew.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "host/parts.h"

enum { STALL_S = 300, CANCEL_GRACE_S = 10, TERM_GRACE_S = 5, LOG_LIMIT = 4 << 20, DESTROY_MS = 5000 };

int64_t crew_now(const struct crew *crew) { return clock_boot(loop_clock(crew->loop)); }

struct attempt *crew_find(struct crew *crew, int64_t serial) {
  for (struct attempt *a = crew->attempts; a; a = a->next)
    if (a->serial == serial) return a;
  return NULL;
}

bool crew_keeps_out(const struct crew *crew, const char *plugin_path) {
  for (size_t i = 0; i < crew->kept_out_count; i++)
    if (strcmp(crew->kept_out[i], plugin_path) == 0) return true;
  return false;
}

void crew_keep_out(struct crew *crew, const char *plugin_path) {
  if (crew_keeps_out(crew, plugin_path)) return;
  crew->kept_out = mem_grow(crew->kept_out, crew->kept_out_count + 1, sizeof(*crew->kept_out));
  crew->kept_out[crew->kept_out_count++] = mem_text(plugin_path);
}

/* Callbacks may end any attempt: each look begins from the list again, by serial number. */
static void on_sample(void *context) {
  struct crew *crew = context;
  int64_t now = crew_now(crew), last = 0;
  crew->sampler = loop_after(crew->loop, SAMPLE_US, on_sample, crew);
  for (bool more = true; more;) {
    more = false;
    for (struct attempt *a = crew->attempts; a; a = a->next) {
      if (a->serial <= last) continue;
      last = a->serial;
      more = true;
      attempt_sample(a, now);
      break;
    }
  }
}

static void init_zygote(struct zygote *z, struct crew *crew, bool with_libav) {
  *z = (struct zygote){.crew = crew, .with_libav = with_libav, .control = -1, .pidfd = -1, .said = -1};
}

enum err crew_create(struct crew **crew, struct loop *loop, const struct crew_options *options, struct error *e) {
  if (!options->runner_path || !options->catalogue)
    return error_set(e, ERR_USAGE, "a crew needs the path of stagemill-runner and a catalogue");
  struct crew *c = mem_alloc(sizeof(*c));
  c->loop = loop;
  c->catalogue = options->catalogue;
  c->runner_path = mem_text(options->runner_path);
  c->pass_module_path = mem_text(options->pass_module_path);
  c->stall_us = options->stall_us ? options->stall_us : (int64_t)STALL_S * 1000000;
  c->cancel_grace_us = options->cancel_grace_us ? options->cancel_grace_us : (int64_t)CANCEL_GRACE_S * 1000000;
  c->term_grace_us = options->term_grace_us ? options->term_grace_us : (int64_t)TERM_GRACE_S * 1000000;
  c->log_limit_bytes = options->log_limit_bytes ? options->log_limit_bytes : LOG_LIMIT;
  c->uid = options->attempt_uid;
  c->gid = options->attempt_gid;
  init_zygote(&c->plain, c, false);
  init_zygote(&c->libav, c, true);
  c->sampler = loop_after(loop, SAMPLE_US, on_sample, c);
  *crew = c;
  return ERR_OK;
}

/* Once its zygote is dead a keeper ends by itself, with everything below it. */
static void await_keeper(const struct attempt *a) {
  struct pollfd p = {a->keeper_pidfd, POLLIN, 0};
  if (a->keeper_pidfd < 0) p.fd = a->socket; /* never heard of: the last holder of its socket */
  if (p.fd >= 0 && a->phase != PHASE_QUEUED) poll(&p, 1, DESTROY_MS);
}

void crew_destroy(struct crew **crew) {
  struct crew *c = *crew;
  if (!c) return;
  for (struct attempt *a = c->attempts; a; a = a->next) attempt_climb(a, 3);
  zygote_end(&c->plain);
  zygote_end(&c->libav);
  for (struct attempt *a = c->attempts, *next; a; a = next) {
    next = a->next;
    await_keeper(a);
    attempt_free(&a);
  }
  loop_cancel(c->loop, &c->sampler);
  for (size_t i = 0; i < c->kept_out_count; i++) free(c->kept_out[i]);
  free(c->kept_out);
  free(c->runner_path);
  free(c->pass_module_path);
  free(c);
  *crew = NULL;
}
