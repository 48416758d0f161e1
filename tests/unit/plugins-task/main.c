#include "harness.h"

#include <dlfcn.h>
#include <ftw.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static struct harness the; /* nftw has no context argument */
static const char *tree_port, *tree_root;
static char *tree_stage;

void harness_usage(const char *format, ...) {
  va_list list;
  va_start(list, format);
  fprintf(stderr, "task-harness: ");
  vfprintf(stderr, format, list);
  fprintf(stderr, "\n");
  va_end(list);
  exit(2);
}

double harness_ms(const struct harness *h) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)(now.tv_sec - h->begun.tv_sec) * 1e3 + (double)(now.tv_nsec - h->begun.tv_nsec) / 1e6;
}

static struct harness_input *add_input(const char *port, const char *path) {
  if (the.input_count >= HARNESS_INPUTS_MAX) harness_usage("more than %d inputs", HARNESS_INPUTS_MAX);
  struct harness_input *in = &the.inputs[the.input_count++];
  const char *slash = strrchr(path, '/');
  *in = (struct harness_input){strdup(port), strdup(path), strdup(slash ? slash + 1 : path), strdup("stage"), NULL, false};
  return in;
}

static void set(char **slot, const char *text) {
  free(*slot);
  *slot = strdup(text);
}

/* Takes ",key=value" off the end of `spec` into the matching field; returns what stands before the first comma. */
static void read_options(char *spec, struct harness_input *in) {
  for (char *part = strtok(spec, ","); part; part = strtok(NULL, ",")) {
    if (strncmp(part, "name=", 5) == 0)
      set(&in->name, part + 5);
    else if (strncmp(part, "stage=", 6) == 0)
      set(&in->stage, part + 6);
    else if (strncmp(part, "type=", 5) == 0)
      set(&in->type, part + 5);
    else if (strcmp(part, "source") == 0)
      in->source = true;
    else
      harness_usage("unknown input option %s", part);
  }
}

/* "port=path,options": cuts it apart. */
static void split(char *spec, char **port, char **path, char **options) {
  *port = spec;
  *path = strchr(spec, '=');
  if (!*path) harness_usage("%s: write PORT=PATH", spec);
  *(*path)++ = '\0';
  *options = strchr(*path, ',');
  if (*options) *(*options)++ = '\0';
}

static void option_input(char *spec) {
  char *port, *path, *options;
  split(spec, &port, &path, &options);
  struct harness_input *in = add_input(port, path);
  if (options) read_options(options, in);
}

static int visit(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
  (void)st;
  (void)ftw;
  if (kind != FTW_F) return 0;
  struct harness_input *in = add_input(tree_port, path);
  set(&in->name, path + strlen(tree_root) + 1);
  if (tree_stage) set(&in->stage, tree_stage);
  return 0;
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const struct harness_input *)a)->path, ((const struct harness_input *)b)->path);
}

static void option_tree(char *spec) {
  char *port, *path, *options;
  split(spec, &port, &path, &options);
  struct harness_input shared = {0};
  if (options) read_options(options, &shared);
  tree_port = port;
  tree_root = path;
  free(tree_stage);
  tree_stage = shared.stage;
  size_t first = the.input_count;
  if (nftw(path, visit, 20, FTW_PHYS) != 0) harness_usage("cannot read %s", path);
  qsort(the.inputs + first, the.input_count - first, sizeof *the.inputs, by_name);
}

static void option_param(char *spec) {
  char *value = strchr(spec, '=');
  if (!value) harness_usage("%s: write NAME=VALUE", spec);
  *value++ = '\0';
  if (!json_object_get(the.settings, spec)) json_object_set_new(the.settings, spec, json_array());
  json_array_append_new(json_object_get(the.settings, spec), json_string(value));
}

static void read_arguments(int count, char **arguments) {
  static const struct option options[] = {
    {"param", 1, 0, 'p'},       {"input", 1, 0, 'i'},        {"tree", 1, 0, 't'},      {"out", 1, 0, 'o'},
    {"keep", 1, 0, 'k'},        {"checkpoints", 1, 0, 'c'},  {"attempt", 1, 0, 'a'},   {"cancel-after", 1, 0, 'C'},
    {"cancel-at", 1, 0, 'A'},   {"kill-at", 1, 0, 'K'},      {0, 0, 0, 0},
  };
  for (int c; (c = getopt_long(count, arguments, "", options, NULL)) != -1;) {
    switch (c) {
    case 'p': option_param(optarg); break;
    case 'i': option_input(optarg); break;
    case 't': option_tree(optarg); break;
    case 'o': the.out = optarg; break;
    case 'k': the.keep = optarg; break;
    case 'c': the.checkpoint_file = optarg; break;
    case 'a': the.attempt = atoi(optarg); break;
    case 'C': the.cancel_after_ms = atof(optarg); break;
    case 'A': the.cancel_at = atof(optarg); break;
    case 'K': the.kill_at = atof(optarg); break;
    default: exit(2);
    }
  }
}

static void load(const char *file, const char *name) {
  void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (!handle) harness_usage("%s", dlerror());
  the.plugin = dlsym(handle, "stagemill_plugin");
  if (!the.plugin) harness_usage("%s exports no stagemill_plugin", file);
  for (const sm_stage *stage = the.plugin->stages; stage->name; stage++)
    if (strcmp(stage->name, name) == 0) the.stage = stage;
  if (!the.stage || !the.stage->run) harness_usage("%s has no task stage %s", file, name);
}

static void report(sm_status verdict, double ms) {
  static const char *const words[] = {"ok", "retry", "fail", "cancelled"};
  json_t *all = json_pack(
    "{s:s, s:s, s:s, s:o, s:o, s:o, s:O, s:f, s:{s:f, s:s, s:I, s:I, s:I, s:I}}", "verdict",
    verdict >= 0 && verdict <= 3 ? words[verdict] : "other", "message", the.message, "debug", the.debug, "results",
    the.results, "outputs", the.outputs, "log", the.log, "checkpoints", the.checkpoints, "ms", ms, "progress",
    "fraction", the.fraction, "message", the.progress_message, "item", (json_int_t)the.item, "items",
    (json_int_t)the.items, "calls", (json_int_t)the.calls, "backwards", (json_int_t)the.backwards);
  if (!all) harness_usage("what the stage said is not valid UTF-8");
  json_dumpf(all, stdout, JSON_INDENT(1) | JSON_SORT_KEYS);
  printf("\n");
  json_decref(all);
}

int main(int count, char **arguments) {
  if (count < 3) harness_usage("PLUGIN.so STAGE [--param k=v] [--input port=path] [--out DIR] ... (see harness.h)");
  static char here[] = ".";
  the = (struct harness){.task = {.host = &harness_host}, .attempt = 1, .cancel_after_ms = -1, .cancel_at = -1,
                         .kill_at = -1, .lock = PTHREAD_MUTEX_INITIALIZER, .out = here};
  the.settings = json_object();
  the.results = json_object();
  the.outputs = json_array();
  the.log = json_array();
  the.inputs = calloc(HARNESS_INPUTS_MAX, sizeof *the.inputs);
  load(arguments[1], arguments[2]);
  read_arguments(count - 2, arguments + 2);
  setting_check(&the);
  mkdir(the.out, 0755);
  if (the.checkpoint_file) the.checkpoints = json_load_file(the.checkpoint_file, 0, NULL);
  if (!the.checkpoints) the.checkpoints = json_object();
  clock_gettime(CLOCK_MONOTONIC, &the.begun);
  sm_status verdict = the.stage->run(&the.task);
  report(verdict, harness_ms(&the));
  return the.table_broken ? 2 : 0;
}
