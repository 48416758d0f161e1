/* foresee.h - lets the stages' plan() look at an input, in an attempt of its own, and collects what they announce. */
#pragma once
#include "cli/site.h"

/* *notes: map of stage id -> list of {what, text, amount}; what a stage could not say is a note too. Owned. */
enum err foresee(struct site *site, const struct pipeline *p, const struct value *params, const struct value *job,
                 const char *input, struct value **notes, struct error *e);
