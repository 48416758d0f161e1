/* smaller.c - a plugin of an older minor: the last fields of every table do not exist yet. */
#include "shim.h"

struct small_param {
  const char *name;
  uint32_t takes, flags;
  const char *fallback, *choices;
  double min, max;
  const char *unit;
};
struct small_port {
  const char *name;
  uint32_t kind, flags;
  const char *types;
};
struct small_result {
  const char *key;
  uint32_t type, available, flags;
  const char *unit;
};
struct small_stage {
  const char *name, *summary;
  uint32_t kind, flags;
  const char *capabilities;
  const struct small_param *params;
  const struct small_port *inputs, *outputs;
  const struct small_result *results;
  sm_task_fn run;
};

static const struct small_param params[] = {{"word", SM_TAKES_TEXT, 0, "small", NULL, 0, 0, NULL},
                                            {"count", SM_TAKES_INT, 0, "3", NULL, 0, 9, NULL},
                                            {NULL, 0, 0, NULL, NULL, 0, 0, NULL}};
static const struct small_port inputs[] = {{NULL, 0, 0, NULL}};
static const struct small_port outputs[] = {{"out", SM_PORT_ARTIFACT, 0, "text/plain"}, {NULL, 0, 0, NULL}};
static const struct small_result results[] = {{"said", SM_RESULT_TYPE_TEXT, SM_AT_END, 0, NULL},
                                              {"times", SM_RESULT_TYPE_INT, SM_AT_END, 0, NULL},
                                              {NULL, 0, 0, 0, NULL}};
static const struct small_stage stages[] = {
  {"shim-smaller", "from an older SDK", SM_KIND_TASK, 0, NULL, params, inputs, outputs, results, shim_run},
  {"shim-smaller-two", "a second one", SM_KIND_TASK, 0, NULL, params, inputs, outputs, results, shim_run},
  {NULL, NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL}};
__attribute__((constructor)) static void loaded(void) { shim_mark("smaller"); }
SHIM_PLUGIN("org.stagemill.shim-smaller", 1, 0, 0, sizeof(struct small_stage), sizeof(struct small_param),
            sizeof(struct small_port), sizeof(struct small_result), stages);
