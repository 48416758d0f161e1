/* passhost.h - the runner's half of pass.h. */
#pragma once
#include "runner/attempt.h"
#include "runner/pass.h"

/* The module's table from the file, loaded RTLD_LOCAL; NULL with a sentence. */
const struct pass_module *passhost_load(const char *path, struct error *e);
/* Runs the pass; every stage that was not dropped has its verdict afterwards. */
void passhost_run(struct attempt *a, const struct pass_module *module, struct value *stats);
