/* foresee.h - lets the stages' plan() look at an input, in an attempt of its own, and collects what they announce. */
#pragma once
#include "host/crew.h"
#include "pipeline/pipeline.h"

/* Blocks, up to a minute; runs a loop and a crew of its own, beside whatever else this process does. *notes: map of stage id ->
 * list of {what, text, amount}; what a stage could not say is a note too. Owned. */
enum err foresee(const struct crew_options *crew, const struct pipeline *p, const struct value *params,
                 const struct value *job, const char *input, struct value **notes, struct error *e);
