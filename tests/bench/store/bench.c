/* bench_store FOLDER [SECONDS [ROUNDS]] - durable transitions a second: 1, 8, 64 and 512 in flight, interleaved in one
 * run. A transition is one acknowledged verb of a job's life: submit, begin, finish, complete, each with an event, as
 * the engine writes them. One in flight is one transaction and one sync each; more in flight is what group commit makes
 * of it. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "store/store.h"

enum { WIDTHS = 4, ROUNDS_MAX = 31 };
static const int widths[WIDTHS] = {1, 8, 64, 512};

struct bench {
  struct store *store;
  int bell, running;
  bool over;
  uint64_t transitions;
};

struct life {
  struct bench *bench;
  char job[STORE_ID_MAX];
  uint64_t fence;
  int step;
};

static void next(struct life *l);

static void stepped(void *context, const struct commit *c) {
  struct life *l = context;
  if (c->status) {
    fprintf(stderr, "%s\n", c->error.message);
    exit(1);
  }
  l->bench->transitions++;
  if (l->step == 0) snprintf(l->job, sizeof(l->job), "%s", c->job);
  if (c->fence) l->fence = c->fence;
  l->step = (l->step + 1) % 4;
  if (l->bench->over)
    l->bench->running--;
  else
    next(l);
}

static void next(struct life *l) {
  static char one[] = "one", result[] = "{\"duration\":12.5,\"width\":1920}";
  const char *const stages[1] = {one};
  struct event_draft said = {"stage", "{\"status\":\"processing\",\"attempt\":1,\"maxAttempts\":4}"};
  struct stage_record row = {.stage = one, .status = STAGE_FINISHED, .result_json = result};
  struct attempt_record attempt = {.state = l->step == 1 ? ATTEMPT_LIVE : ATTEMPT_OVER};
  struct job_record job = {.status = l->step == 3 ? JOB_COMPLETED : 0, .priority = 50};
  struct change c = {.job = l->job, .events = &said, .event_count = 1};
  struct store *s = l->bench->store;
  if (l->step == 0) store_submit(s, &job, stages, 1, &said, 1, stepped, l);
  if (l->step == 1 || l->step == 2) {
    c.stages = &row;
    c.stage_count = 1;
    c.attempt = &attempt;
  }
  if (l->step == 1) store_begin_attempt(s, &c, stepped, l);
  if (l->step == 2) c.fence = l->fence;
  if (l->step == 3) {
    c.job_fields = JOB_SET_STATUS;
    c.job_values = &job;
  }
  if (l->step >= 2) store_change(s, &c, stepped, l);
}

static void ring(void *context) {
  uint64_t n = 1;
  ssize_t ignored = write(((struct bench *)context)->bell, &n, sizeof(n));
  (void)ignored;
}

static void wait_and_dispatch(struct bench *b) {
  struct pollfd p = {b->bell, POLLIN, 0};
  uint64_t n;
  poll(&p, 1, 1000);
  ssize_t ignored = read(b->bell, &n, sizeof(n));
  (void)ignored;
  store_dispatch(b->store);
}

/* Transitions a second with `width` lives at a time, in a store of its own. */
static double measure(const char *folder, int width, double seconds, double *group) {
  struct bench b = {.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  struct error e = {0};
  struct store_options options = {.folder = folder, .notify = ring, .context = &b};
  if (store_open(&b.store, &options, &e)) {
    fprintf(stderr, "%s\n", e.message);
    exit(1);
  }
  mem_auto struct life *lives = mem_array((size_t)width, sizeof(*lives));
  int64_t begin = clock_boot(&clock_system), now = begin;
  for (int i = 0; i < width; i++, b.running++) {
    lives[i].bench = &b;
    next(&lives[i]);
  }
  for (; now - begin < (int64_t)(seconds * 1e6); now = clock_boot(&clock_system)) wait_and_dispatch(&b);
  double rate = (double)b.transitions / ((double)(now - begin) / 1e6);
  for (b.over = true; b.running;) wait_and_dispatch(&b);
  struct store_stats stats;
  store_statistics(b.store, &stats);
  *group = (double)stats.verbs / (double)stats.transactions;
  store_close(&b.store);
  close(b.bell);
  return rate;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void print_row(int w, double *rates, double *ratios, double group, int rounds) {
  qsort(rates, (size_t)rounds, sizeof(double), compare);
  qsort(ratios, (size_t)rounds, sizeof(double), compare);
  printf("%9d %14.0f %20.1f %8.1f (%.1f-%.1f)\n", widths[w], rates[rounds / 2], group, ratios[rounds / 2], ratios[0],
         ratios[rounds - 1]);
}

int main(int argc, char **argv) {
  double rates[WIDTHS][ROUNDS_MAX], ratios[WIDTHS][ROUNDS_MAX], group[WIDTHS];
  if (argc < 2) return 64;
  double seconds = argc > 2 ? atof(argv[2]) : 1;
  int rounds = argc > 3 ? atoi(argv[3]) : 5;
  if (rounds < 1 || rounds > ROUNDS_MAX) rounds = 5;
  for (int r = 0; r < rounds; r++)
    for (int w = 0; w < WIDTHS; w++) {
      mem_auto char *folder = mem_format("%s/%d-%d", argv[1], r, w);
      rates[w][r] = measure(folder, widths[w], seconds, &group[w]);
      ratios[w][r] = rates[w][r] / rates[0][r]; /* against the same round: the machine is shared */
    }
  printf("%9s %14s %20s %8s\n", "in flight", "transitions/s", "verbs a transaction", "ratio to one (least-most)");
  for (int w = 0; w < WIDTHS; w++) print_row(w, rates[w], ratios[w], group[w], rounds);
  return 0;
}
