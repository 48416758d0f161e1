/* module.h - the whole of a pass over a media file; module.c exports it, tests call it directly. */
#pragma once
#include "runner/pass.h"

sm_status media_run(struct pass_context *c, struct value *stats);
