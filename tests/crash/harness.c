/* crash_store DRIVER [KILLS] - starts the driver, kills it at a random instant, opens its store and asks for every fact
 * that was acknowledged before: there, none twice, numbered without a gap, and the store clean. */
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

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "facts.h"

extern char **environ;

static void take_lines(struct buf *text, struct facts *facts, int *bad) {
  char *line = text->data, *end;
  while (line && (end = strchr(line, '\n'))) {
    *end = '\0';
    if (!facts_add(facts, line)) *bad += fprintf(stderr, "the driver says '%s'\n", line) > 0;
    line = end + 1;
  }
  size_t rest = line ? strlen(line) : 0;
  if (line) memmove(text->data, line, rest + 1);
  text->size = rest;
}

/* Reads facts until `until_us`, or to the end of the file when it is negative. A torn last line is no fact: its write
 * had not returned. */
static bool listen_to(int fd, int64_t until_us, struct buf *text, struct facts *facts, int *bad) {
  for (;;) {
    int64_t left = until_us < 0 ? 1000000 : until_us - clock_boot(&clock_system);
    if (left <= 0) return true;
    struct pollfd p = {fd, POLLIN, 0};
    if (poll(&p, 1, (int)((left + 999) / 1000)) <= 0) continue;
    char chunk[4096];
    ssize_t n = read(fd, chunk, sizeof(chunk));
    if (n <= 0) return false;
    buf_add(text, chunk, (size_t)n);
    take_lines(text, facts, bad);
  }
}

static int run_and_kill(const char *driver, char *folder, int64_t delay_us, struct facts *facts) {
  int ends[2], status, bad = 0;
  struct buf text = {0};
  char name[] = "crash_driver";
  char *const argv[] = {name, folder, NULL};
  posix_spawn_file_actions_t actions;
  pid_t pid;
  if (pipe2(ends, O_CLOEXEC) != 0) return 1;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  int fault = posix_spawn(&pid, driver, &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (fault) return fprintf(stderr, "cannot start %s: %s\n", driver, strerror(fault)) > 0;
  listen_to(ends[0], clock_boot(&clock_system) + delay_us, &text, facts, &bad);
  kill(pid, SIGKILL);
  listen_to(ends[0], -1, &text, facts, &bad);
  close(ends[0]);
  waitpid(pid, &status, 0);
  if (!WIFSIGNALED(status)) bad += fprintf(stderr, "the driver ended by itself (%d)\n", WEXITSTATUS(status)) > 0;
  buf_free(&text);
  return bad;
}

static void print_line(void *context, const char *line) {
  (void)context;
  fprintf(stderr, "check: %s\n", line);
}

static int look(const char *folder, const struct facts *facts) {
  struct store *store;
  struct error e = {0};
  struct store_options options = {.folder = folder};
  if (store_open(&store, &options, &e)) return fprintf(stderr, "%s\n", e.message) > 0;
  int bad = store_check(store, print_line, NULL, &e) ? 1 : 0;
  bad += facts_check(facts, store);
  store_close(&store);
  return bad;
}

int main(int argc, char **argv) {
  const char *long_run = getenv("STAGEMILL_LONG");
  int kills = argc > 2 ? atoi(argv[2]) : long_run && strcmp(long_run, "0") != 0 ? 200 : 20, bad = 0;
  char folder[] = "/tmp/stagemill-crash-XXXXXX";
  struct facts facts = {0};
  if (argc < 2 || !mkdtemp(folder)) return 64;
  unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
  srandom(seed);
  for (int i = 0; i < kills && !bad; i++) {
    int64_t delay_us = 500 + random() % (i % 4 == 0 ? 15000 : 120000); /* some while it still opens and recovers */
    bad += run_and_kill(argv[1], folder, delay_us, &facts);
    bad += look(folder, &facts);
  }
  printf("%d kills (seed %u), %zu facts acknowledged, %d not borne out\n", kills, seed, facts.count, bad);
  if (bad) {
    fprintf(stderr, "the store is kept in %s\n", folder);
  } else {
    int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fs_remove_tree(tmp, folder + 5, NULL);
    close(tmp);
  }
  free(facts.items);
  return bad != 0 || facts.count == 0;
}
