/* expr.h - the typed expressions of ${{ ... }}: grammar in pipelines/README.md, frozen by tests.
 *
 *   or      := and ( '||' and )*            coalesce := or ( '??' or )*      (lowest precedence)
 *   and     := equal ( '&&' equal )*
 *   equal   := compare ( ('==' | '!=') compare )?
 *   compare := sum ( ('<' | '<=' | '>' | '>=') sum )?
 *   sum     := product ( ('+' | '-') product )*
 *   product := unary ( ('*' | '/' | '%') unary )*
 *   unary   := '!' unary | '-' unary | primary
 *   primary := literal | reference | function '(' arguments ')' | '(' coalesce ')'
 *   literal := null true false 12 1.5 6s 5m 800k 1.5G 10% 'text'
 *   reference := params.NAME | stages.ID.KEY | stages.ID.status | job.id | job.input | job.name | secrets.NAME
 *   functions: format('{}-{}', a, b) contains(a, b) starts-with(a, b) ends-with(a, b) lower(a) upper(a) length(a)
 *              list(a, ...) min(a, ...) max(a, ...) round(a) floor(a) ceil(a)
 *              status functions: always() failure() success() cancelled()
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/value.h"

struct expr;     /* one parsed expression */
struct template; /* text with zero or more ${{ }}; a single one keeps its type */

/* Reports problems relative to the text's start. */
struct expr_problem {
  size_t offset, length; /* bytes in the text handed to parse */
  char message[256];
};
enum err expr_parse(const char *text, struct expr **expr, struct expr_problem *problem);
void expr_free(struct expr **expr);
const char *expr_text(const struct expr *expr); /* as written, without ${{ }} and blanks around it; for people */
enum err template_parse(const char *text, struct template **t, struct expr_problem *problem);
void template_free(struct template **t);
bool template_is_literal(const struct template *t); /* no ${{ }} in it */

/* What an expression refers to. */
enum reference_kind { REFERENCE_PARAM = 1, REFERENCE_STAGE, REFERENCE_JOB, REFERENCE_SECRET };
struct reference {
  enum reference_kind kind;
  const char *name; /* parameter, stage id, job field, secret */
  const char *key;  /* stage: result key or "status" */
  size_t offset, length;
};
typedef void reference_visit(void *context, const struct reference *reference);
void expr_references(const struct expr *expr, reference_visit *visit, void *context);
bool expr_asks_status(const struct expr *expr);        /* always(), failure(), success() or cancelled() is in it */
bool expr_runs_after_failure(const struct expr *expr); /* one of them but success() */
void template_references(const struct template *t, reference_visit *visit, void *context);

/* Static types for checking: a set of value_type bits (1 << VALUE_...), 0 when unknown. */
typedef uint32_t type_set;
static inline type_set type_bit(enum value_type type) { return (type_set)1 << type; }
typedef type_set reference_type(void *context, const struct reference *reference);
/* ERR_INVALID with the place when operand types can never fit. */
enum err expr_check(const struct expr *expr, reference_type *type, void *context, type_set *result,
                    struct expr_problem *problem);
enum err template_check(const struct template *t, reference_type *type, void *context, type_set *result,
                        struct expr_problem *problem);

/* Evaluation. lookup answers an owned value (null when unknown or not there). */
struct scope {
  struct value *(*lookup)(void *context, const struct reference *reference);
  bool (*status)(void *context, const char *function); /* "always", "failure", ... */
  void *context;
};
enum err expr_eval(const struct expr *expr, const struct scope *scope, struct value **v, struct error *e);
enum err template_eval(const struct template *t, const struct scope *scope, struct value **v, struct error *e);
bool value_truthy(const struct value *v); /* null, false, 0 of any unit, '' and empty lists are not */
#define EXPR_JOB_FIELDS "id", "input", "name"
