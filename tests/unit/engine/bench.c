#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"

void bench_open(struct bench *b) {
  struct error e = {0};
  log_open(STDERR_FILENO, LOG_LEVEL_ERROR, false);
  memset(b, 0, sizeof *b);
  snprintf(b->folder, sizeof b->folder, "/tmp/stagemill-engine-XXXXXX");
  assert_non_null(mkdtemp(b->folder));
  assert_int_equal(loop_create(&b->loop, &clock_system, &e), ERR_OK);
  struct engine_options options = {.state_folder = bench_path(b, "state"), .loop = b->loop};
  assert_int_equal(engine_create(&b->engine, &options, &e), ERR_OK);
}

void bench_close(struct bench *b) {
  engine_destroy(&b->engine);
  loop_destroy(&b->loop);
  fs_remove_path(b->folder, NULL);
}

const char *bench_path(const struct bench *b, const char *below) {
  static char paths[4][512];
  static unsigned turn;
  char *path = paths[turn++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", b->folder, below);
  return path;
}

void bench_write(const struct bench *b, const char *below, const char *text) {
  const char *path = bench_path(b, below);
  mem_auto char *folder = mem_text_n(path, (size_t)(fs_base_name(path) - path));
  assert_int_equal(fs_make_folders(folder, 0755, NULL), ERR_OK);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  assert_int_equal(fclose(f), 0);
}

bool bench_holds(const struct bench *b, const char *below, const char *text) {
  buf_auto struct buf content = {0};
  if (fs_read_file(bench_path(b, below), 1 << 20, &content, NULL)) return false;
  return strcmp(buf_string(&content), text) == 0;
}

bool bench_exists(const struct bench *b, const char *below) { return access(bench_path(b, below), F_OK) == 0; }

void bench_turn(struct bench *b, const bool *flag) {
  for (int i = 0; i < 200 && !(flag && *flag); i++) loop_turn(b->loop, 10 * 1000);
}

struct value *bench_json(const char *text) {
  struct value *v = NULL;
  struct error e;
  if (value_from_json(text, strlen(text), &v, &e)) fail_msg("%s: %s", text, e.message);
  return v;
}
