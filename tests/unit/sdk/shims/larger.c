/* larger.c - a plugin of a newer minor that needs nothing of it: it must load. */
#include "larger.h"

static const struct large_stage stages[] = {
  LARGE_STAGE("shim-larger"), LARGE_STAGE("shim-larger-two"), {SM_STAGES_END, POISON}};
__attribute__((constructor)) static void loaded(void) { shim_mark("larger"); }
LARGE_PLUGIN("org.stagemill.shim-larger", 1, 9, 0);
