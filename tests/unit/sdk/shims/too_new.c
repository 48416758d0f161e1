/* too_new.c - a plugin that states a newer minor as the lowest that can load it: refused, and no code of it runs. */
#include "larger.h"

static const struct large_stage stages[] = {LARGE_STAGE("shim-too-new"), {SM_STAGES_END, POISON}};
__attribute__((constructor)) static void loaded(void) { shim_mark("too_new"); }
LARGE_PLUGIN("org.stagemill.shim-too-new", 1, 9, 9);
