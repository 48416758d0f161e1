/* pause.h - what is paused besides jobs: the queue, a pipeline. */
#pragma once
#include "api/parts.h"

/* Puts {paused, pausedUntil} into v. `what`: "queue" or "pipeline:NAME". */
void pause_set(struct service *service, const char *what, struct value *v);
/* Handlers' work: pauses (until of the body) or resumes, then answers {paused, pausedUntil}. */
void pause_begin(struct exchange *x, const char *what);
void pause_end(struct exchange *x, const char *what);
