/* larger.h - tables of a minor that does not exist yet: every element has grown, and what is in the new fields would
 * crash a host that read them as something it knows. */
#include "shim.h"

#define POISON                                                                                                         \
  { (void *)0x5a5a5a5a5a5a5a5a, (void *)0x5a5a5a5a5a5a5a5a, (void *)0x5a5a5a5a5a5a5a5a }
#define GROWN(name, base)                                                                                              \
  struct name {                                                                                                        \
    base now;                                                                                                          \
    void *later[3];                                                                                                    \
  }
GROWN(large_param, sm_param);
GROWN(large_port, sm_port);
GROWN(large_result, sm_result);
GROWN(large_stage, sm_stage);

static const struct large_param params[] = {{SM_TEXT("word", "large", "what to say"), POISON},
                                            {SM_INT("count", "5", 0, 9, NULL, "how often"), POISON},
                                            {SM_PARAMS_END, POISON}};
static const struct large_port inputs[] = {{SM_PORTS_END, POISON}};
static const struct large_port outputs[] = {{SM_OUTPUT("out", "text/plain", "the word"), POISON},
                                            {SM_PORTS_END, POISON}};
static const struct large_result results[] = {{SM_RESULT_TEXT("said", SM_AT_END, "the word"), POISON},
                                              {SM_RESULT_INT("times", SM_AT_END, NULL, "how often"), POISON},
                                              {SM_RESULTS_END, POISON}};
#define LARGE_STAGE(name)                                                                                              \
  {                                                                                                                    \
    {name,           "from a newer SDK", SM_KIND_TASK,    0,        NULL, &params[0].now,                              \
     &inputs[0].now, &outputs[0].now,    &results[0].now, shim_run, NULL, NULL},                                       \
      POISON                                                                                                           \
  }
#define LARGE_PLUGIN(id, major, minor, lowest)                                                                         \
  SHIM_PLUGIN(id, major, minor, lowest, sizeof(struct large_stage), sizeof(struct large_param),                        \
              sizeof(struct large_port), sizeof(struct large_result), stages)
