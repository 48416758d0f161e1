#include "rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"

void rig_open(struct rig *rig, const struct crew_options *like) {
  struct error e = {0};
  const char *folders[] = {TEST_PLUGINS};
  snprintf(rig->folder, sizeof(rig->folder), "/tmp/stagemill-host-XXXXXX");
  assert_non_null(mkdtemp(rig->folder));
  mem_auto char *cache = mem_format("%s/plugins.cache", rig->folder);
  struct catalogue_options catalogue = {.runner_path = RUNNER, .folders = folders, .folder_count = 1, .cache_path = cache};
  if (catalogue_open(&rig->catalogue, &catalogue, &e)) fail_msg("%s", e.message);
  struct crew_options options = {.stall_us = 0, .attempt_uid = -1, .attempt_gid = -1};
  if (like) options = *like;
  options.runner_path = RUNNER;
  options.catalogue = rig->catalogue;
  if (loop_create(&rig->loop, &clock_system, &e)) fail_msg("%s", e.message);
  if (crew_create(&rig->crew, rig->loop, &options, &e)) fail_msg("%s", e.message);
}

void rig_close(struct rig *rig) {
  crew_destroy(&rig->crew);
  catalogue_close(&rig->catalogue);
  loop_destroy(&rig->loop);
  int root = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  fs_remove_tree(root, fs_base_name(rig->folder), NULL);
  close(root);
}

/* ---- the story ---- */

static void on_started(void *context, struct attempt *a, int pid) {
  struct story *s = context;
  (void)a;
  s->started = true;
  s->pid = pid;
  if (s->on_started) s->on_started(s);
}

static void on_message(void *context, struct attempt *a, const struct message *m) {
  struct story *s = context;
  (void)a;
  const char *key = value_get_text(m->body, "key", "");
  if (m->type == MESSAGE_RESULT) value_map_set(s->results, key, value_copy(value_get(m->body, "value")));
  if (m->type == MESSAGE_OUTPUT) value_list_add(s->outputs, value_copy(m->body));
  if (m->type == MESSAGE_CHECKPOINT) value_map_set(s->checkpoints, key, value_copy(value_get(m->body, "value")));
  if (m->type == MESSAGE_NOTE) value_list_add(s->notes, value_copy(m->body));
  if (m->type == MESSAGE_TITLE) s->titles++;
}

static void on_progress(void *context, struct attempt *a, const struct attempt_progress *p) {
  struct story *s = context;
  (void)a;
  double step = p->stages[0].fraction - s->fraction;
  if (step < s->lowest_step) s->lowest_step = step;
  s->fraction = p->stages[0].fraction;
  s->item = p->stages[0].item;
  s->items = p->stages[0].items;
  s->progress_calls++;
  if (s->on_progress) s->on_progress(s);
}

static void on_log(void *context, struct attempt *a, int32_t stage, int level, const char *line) {
  (void)a;
  (void)stage;
  (void)level;
  (void)line;
  ((struct story *)context)->logs++;
}

static void on_ended(void *context, struct attempt *a, const struct attempt_outcome *o) {
  struct story *s = context;
  (void)a;
  s->over = true;
  s->endings++;
  s->end = o->end;
  s->error = o->error;
  s->signal = o->signal;
  s->exit_code = o->exit_code;
  s->suspect = o->suspect;
  s->verdict = o->verdicts[0].verdict;
  snprintf(s->message, sizeof(s->message), "%s", o->verdicts[0].message);
  snprintf(s->debug, sizeof(s->debug), "%s", o->verdicts[0].debug);
  s->cpu_us = o->cpu_us;
  s->max_rss_bytes = o->max_rss_bytes;
  s->wall_us = o->wall_us;
  snprintf(s->log_tail, sizeof(s->log_tail), "%s", o->log_tail);
  s->attempt = NULL;
}

static const struct attempt_callbacks callbacks = {on_started, on_message, on_progress, on_log, on_ended};

void story_clear(struct story *s) {
  value_free(&s->results);
  value_free(&s->outputs);
  value_free(&s->checkpoints);
  value_free(&s->notes);
}

/* ---- running one ---- */

static void make_folder(char *path, size_t room, const struct rig *rig, const char *name) {
  static unsigned number;
  snprintf(path, room, "%s/%s-%u", rig->folder, name, ++number);
  assert_int_equal(mkdir(path, 0777), 0);
  chmod(path, 0777);
}

static int make_input(const struct rig *rig, const char *text, char *path, size_t room) {
  snprintf(path, room, "%s/input.txt", rig->folder);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
  return open(path, O_RDONLY | O_CLOEXEC);
}

void rig_start(struct rig *rig, struct story *s, const struct order *order) {
  const struct stage_type *type = stage_set_find(catalogue_stages(rig->catalogue), order->stage);
  char output[160], scratch[160], input[160] = "", log[160];
  struct error e = {0};
  int slot = -1;
  if (!type) fail_msg("no stage %s in the catalogue", order->stage);
  s->results = value_map();
  s->outputs = value_list();
  s->checkpoints = value_map();
  s->notes = value_list();
  s->fraction = -1;
  s->rig = rig;
  make_folder(output, sizeof(output), rig, "output");
  make_folder(scratch, sizeof(scratch), rig, "scratch");
  snprintf(log, sizeof(log), "%s/log.txt", rig->folder);
  unlink(log);
  if (order->input_text) slot = make_input(rig, order->input_text, input, sizeof(input));
  struct unit_artifact artifact = {.port = (char[]){"in"}, .name = (char[]){"input.txt"}, .path = input,
                                   .size_bytes = -1, .root_slot = 0, .beneath = (char[]){""}};
  struct unit_stage stage = {.id = (char[]){"it"}, .uses = type->name, .plugin_path = type->plugin_path,
                             .plugin_sha256 = type->plugin_sha256, .attempt = order->attempt ? order->attempt : 1,
                             .params = order->params ? order->params : value_map(), .checkpoints = order->checkpoints,
                             .artifacts = &artifact, .artifact_count = order->input_text ? 1 : 0,
                             .output_path = output, .scratch_path = scratch,
                             .scratch_quota_bytes = order->scratch_quota_bytes};
  struct unit unit = {.kind = order->kind ? order->kind : UNIT_TASK, .job = (char[]){"job-1"}, .pipeline = (char[]){"test"},
                      .cores = 1, .stages = &stage, .stage_count = 1};
  struct attempt_start start = {.unit = &unit, .slots = &slot, .slot_count = slot >= 0 ? 1 : 0, .log_path = log,
                                .timeout_us = order->timeout_us, .stall_us = order->stall_us,
                                .memory_limit_bytes = order->memory_bytes};
  if (crew_start(rig->crew, &start, &callbacks, s, &s->attempt, &e)) fail_msg("%s", e.message);
  if (slot >= 0) close(slot);
  value_free(&stage.params);
  value_free(&stage.checkpoints);
}

void rig_await(struct rig *rig, struct story *s, int64_t most_us) {
  int64_t end = clock_boot(&clock_system) + most_us;
  while (!s->over && clock_boot(&clock_system) < end) loop_turn(rig->loop, 50000);
  if (!s->over) fail_msg("the attempt has not ended after %lld ms", (long long)most_us / 1000);
  assert_int_equal(s->endings, 1);
}

void rig_run(struct rig *rig, struct story *s, const struct order *order) {
  rig_start(rig, s, order);
  rig_await(rig, s, 20 * 1000 * 1000);
}

struct value *param_text(const char *key, const char *text) {
  struct value *map = value_map();
  value_set_text(map, key, text);
  return map;
}

bool process_exists_named(const char *name) {
  DIR *folder = opendir("/proc");
  bool found = false;
  for (struct dirent *entry; !found && (entry = readdir(folder));) {
    char path[300], text[512] = "";
    if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
    snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
    FILE *f = fopen(path, "r");
    char *close = f && fgets(text, sizeof(text), f) ? strrchr(text, ')') : NULL;
    if (f) fclose(f);
    char *open = strchr(text, '(');
    if (!open || !close || close[2] == 'Z') continue;
    *close = '\0';
    found = strcmp(open + 1, name) == 0;
  }
  closedir(folder);
  return found;
}

void rig_become_ordinary(void) {
  enum { NOBODY = 65534, SKIPPED = 77 };
  if (geteuid() != 0) return;
  if (setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0) exit(1);
  if (access(RUNNER, X_OK) == 0) return;
  printf("skipped: the build folder is closed to other users\n");
  exit(SKIPPED);
}
