/* keys.h - every key a pipeline can have, as tables: what checks a file also feeds the editor's schema and is compared
 * with the language reference by a test. */
#pragma once
#include "config/schema.h"

extern const char *const keys_synonyms[];
extern const struct rule keys_pipeline[], keys_include[], keys_defaults[], keys_retry[], keys_concurrency[],
    keys_param[], keys_stage[],
    keys_notify[], keys_webhook[], keys_mail[];

/* Places for "belongs ..." hints, seen from each of them. */
enum keys_where {
  KEYS_TOP = 1,
  KEYS_INCLUDE,
  KEYS_DEFAULTS,
  KEYS_RETRY,
  KEYS_CONCURRENCY,
  KEYS_PARAM,
  KEYS_STAGE,
  KEYS_WITH
};
enum { KEYS_PLACES_MAX = 6 };
/* Fills places with those that are not `from` itself; with (may be NULL): the stage whose parameters count. */
size_t keys_places(enum keys_where from, const struct stage_type *with, struct schema_place places[KEYS_PLACES_MAX]);
