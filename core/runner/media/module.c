/* module.c - the one symbol that the runner looks up in pass.so. */
#include "media/module.h"

SM_EXPORT extern const struct pass_module stagemill_pass_module;
SM_EXPORT const struct pass_module stagemill_pass_module = {.size = sizeof(struct pass_module), .run = media_run};
