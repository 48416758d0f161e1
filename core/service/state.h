/* state.h - the `state` envelope of a job or a batch, as a follower gets it first. */
#pragma once
#include "auth/auth.h"
#include "service/service.h"

/* [any-thread but the loop's] context: the struct service. What `matter` points to belongs to *state. ERR_NOT_FOUND,
 * ERR_BUSY. */
enum err service_state(void *context, const char *job, const char *batch, struct value **state, struct matter *matter,
                       struct error *e);
