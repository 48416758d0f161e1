/* Fuzz target: any text as a template. What the check lets through is evaluated, and its type was foreseen. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pipeline/expr.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* The name's first letter says of what type it is. */
static struct value *sample(const char *name) {
  switch (*name) {
  case 'b': return value_bool(name[1] == 't');
  case 'i': return value_int((int64_t)strlen(name) - 3);
  case 'n': return value_number(1.5);
  case 'd': return value_of(VALUE_DURATION, 90000000, 0);
  case 's': return value_of(VALUE_SIZE, 1 << 20, 0);
  case 'r': return value_of(VALUE_BITRATE, 800000, 0);
  case 'p': return value_of(VALUE_PERCENT, 0, 10);
  case 'l': return value_list();
  case 'z': return value_null();
  default: return value_text(name);
  }
}

static struct value *lookup(void *context, const struct reference *r) {
  (void)context;
  return sample(r->key ? r->key : r->name);
}

static bool status(void *context, const char *function) { return context == NULL && *function == 'a'; }

static type_set type_of(void *context, const struct reference *r) {
  struct value *v = lookup(context, r);
  type_set set = type_bit(v->type);
  value_free(&v);
  return set;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
  const struct scope scope = {lookup, status, NULL};
  mem_auto char *text = mem_text_n((const char *)data, size);
  struct template *t = NULL;
  struct expr_problem problem;
  struct error e;
  struct value *v = NULL;
  type_set types;
  if (template_parse(text, &t, &problem)) {
    if (problem.offset > strlen(text)) abort();
    return 0;
  }
  enum err refused = template_check(t, type_of, NULL, &types, &problem);
  enum err err = template_eval(t, &scope, &v, &e);
  if ((err == ERR_OK) != (v != NULL)) abort();
  if (!refused && v && !(types & type_bit(v->type))) abort();
  value_free(&v);
  template_free(&t);
  return 0;
}
