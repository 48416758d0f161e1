/* literal.h - one grammar of values with units, for pipelines, configuration and stage parameters alike.
 *
 *   duration   6s 250ms 1m30s 5m 2h 1d 1.5s   parts in falling order, a fraction only in the last; 0 needs no unit
 *   size       800k 5M 1.5G 2T (powers of 1000), Ki Mi Gi Ti (of 1024), or bytes
 *   bitrate    800k 5M 1G, or bit/s
 *   percent    10% 12.5%
 *   bool       true, false; integer 42 -7; number 1.5
 *
 * A quoted value is text where text is taken at all, and is read like an unquoted one everywhere else. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stagemill/abi.h>

#include "base/buf.h"
#include "base/stagetype.h"
#include "base/value.h"

/* rule.takes: SM_TAKES_... bits, and what only static tables use: */
enum {
  RULE_MAP = 1u << 24, /* a map that the owner of the table walks itself */
  RULE_LIST = 1u << 25 /* a list likewise */
};
/* rule.flags: SM_REQUIRED, SM_REPEATED and */
enum {
  RULE_EXPRESSIONS = 1u << 8, /* may hold ${{ }}; what it is then follows from the expression */
  RULE_BARE = 1u << 9,        /* is an expression, with or without ${{ }} */
  RULE_SIGNED = 1u << 10      /* units may be negative although there is no range */
};

/* As far as whole numbers are exact in a double; a range that reaches it has no end on that side. */
#define RULE_UNBOUNDED 9e15

/* What one key, or one value, may be. Static tables end with a row without key. */
struct rule {
  const char *key;
  uint32_t takes, flags;
  const char *choices; /* "a|b|c" */
  double min, max;     /* in s, bytes, bit/s, %; equal: no range */
  const char *unit;
  const struct rule *fields; /* SM_TAKES_RECORD */
  const char *summary;
  const struct param_type *param; /* set by rule_of_param: choices and fields are taken from it */
};
struct rule rule_of_param(const struct param_type *param);
size_t rule_field_count(const struct rule *rule);
struct rule rule_field(const struct rule *rule, size_t index);
bool rule_field_find(const struct rule *rule, const char *key, struct rule *field);
/* The choices, one at a time: false when there are no more. out is cut to its size. */
bool rule_choice(const struct rule *rule, size_t index, char *out, size_t size);
/* "a duration (6s, 250ms, 1m30s) or a percentage (10%), from 0 to 100". */
void rule_describe(const struct rule *rule, struct buf *out);
/* The nearest choice to a word: into out (128 bytes); false when none is near. */
bool rule_nearest_choice(const struct rule *rule, const char *word, char out[128]);

/* One value from its text. On ERR_INVALID `why` says what is wrong and what is valid ("`10` is not a duration ..."). */
enum err literal_parse(const struct rule *rule, const char *text, bool plain, struct value **value, struct buf *why);
/* A number with a unit as expressions write it: 6s and 1m30s, 10%, 800k (a plain number: a factor, not a kind), 12,
 * 1.5. Answers how many bytes were read, 0 when it is none. */
size_t literal_scan(const char *text, struct value **value);
/* A typed value made to fit: text is parsed, whole numbers become sizes, single values lists, fields and defaults of
 * records are filled in. `where` is the path of what did not fit ("ladder.0.width"), appended. */
enum err literal_convert(const struct rule *rule, const struct value *in, struct value **out, struct buf *where,
                         struct buf *why);
/* The default of a parameter, typed; null when it has none. */
enum err literal_default(const struct param_type *param, struct value **value, struct buf *why);
/* How a value stands in a text: 90s, 0.25s, 10%, 640, true; null is "". False for lists and maps. */
bool literal_text(const struct value *v, struct buf *out);
