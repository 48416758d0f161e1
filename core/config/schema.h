/* schema.h - walks a map of the tree along a table of rules: unknown, misplaced, missing and ill-typed keys become
 * problems, all of them at once; what is right comes back as typed values. */
#pragma once
#include "config/literal.h"
#include "config/tree.h"

/* Where else a key would be right: "belongs under `with`". */
struct schema_place {
  const char *where; /* "under `with`", "at the top of the file" */
  const struct rule *rules;
  const struct param_type *params;
  size_t param_count;
};

/* [callback] A scalar with ${{ }} at a place whose rule allows it. Reports its own problems. */
typedef void schema_expression(void *context, const struct rule *rule, const struct node *node);

struct schema {
  const char *what;         /* "stage `poster`": unknown key `x` in stage `poster` */
  const struct rule *rules; /* or params */
  const struct param_type *params;
  size_t param_count;
  bool expressions; /* every value may hold ${{ }} (stage parameters) */
  const char *const *synonyms; /* "wrong=right", ends with NULL: words that other tools use for our keys */
  const struct schema_place *places;
  size_t place_count;
  schema_expression *expression; /* NULL: ${{ }} is text like any other */
  void *context;
};

/* Checks `map` (NULL: as if it were empty; `at` is then where missing keys are reported). *value (may be NULL) becomes
 * a map of the keys that are right; texts with expressions are in it as they stand. */
void schema_check(const struct schema *schema, const struct node *map, const struct node *at, struct report *report,
                  struct value **value);
/* One value by one rule, likewise. `what` names it: "`width` of stage `poster`". *value NULL when it is wrong. */
void schema_value(const struct schema *schema, const struct rule *rule, const struct node *node, struct report *report,
                  struct value **value);
bool node_has_expression(const struct node *node); /* a scalar with ${{ in it */
/* Reports an unknown word with the nearest and the valid ones as hint: "unknown stage `hsl`". */
void schema_unknown(struct report *report, const struct node *at, const char *const *valid, size_t count,
                    const char *format, ...) __attribute__((format(printf, 5, 6)));
