/* other_major.c - a plugin of another major: refused, and no code of it runs. */
#include "larger.h"

static const struct large_stage stages[] = {LARGE_STAGE("shim-other-major"), {SM_STAGES_END, POISON}};
__attribute__((constructor)) static void loaded(void) { shim_mark("other_major"); }
LARGE_PLUGIN("org.stagemill.shim-other-major", 2, 0, 0);
