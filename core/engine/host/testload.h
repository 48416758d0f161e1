/* testload.h - loads plugins in a throw-away runner to learn what is in them. Blocks, for a bounded time. */
#pragma once
#include <stddef.h>

#include "base/error.h"
#include "base/value.h"

/* Called for every plugin: body {ok, error | version, license, usesLibav, threads, stages}; NULL with `crash` when the
 * plugin ended the process or hung (the sentence says how). */
typedef void testload_fn(void *context, const char *path, const struct value *body, const char *crash);

/* All together first; what is left when that process dies, singly. libraries: a list that gets the files of the
 * libav that was in use. An error only when no process can be started at all. */
enum err testload_run(const char *runner, const char *const *paths, size_t count, testload_fn *tell, void *context,
                      struct value *libraries, struct error *e);
