/* expr_parts.h - what the files of the expression language share: the parsed form and the rules of its types. */
#pragma once
#include "pipeline/expr.h"

enum {
  EXPR_TEXT_MAX = 4096,
  EXPR_DEPTH_MAX = 48,
  EXPR_NODES_MAX = 512,
  EXPR_RESULT_MAX = 64 << 10, /* bytes of a text that an expression may make */
};

enum operation {
  OP_LITERAL = 1,
  OP_REFERENCE,
  OP_CALL,
  OP_NOT,
  OP_NEGATE,
  OP_COALESCE,
  OP_OR,
  OP_AND,
  OP_EQUAL,
  OP_UNEQUAL,
  OP_LESS,
  OP_LESS_EQUAL,
  OP_GREATER,
  OP_GREATER_EQUAL,
  OP_ADD,
  OP_SUBTRACT,
  OP_MULTIPLY,
  OP_DIVIDE,
  OP_MODULO,
};

enum token_kind {
  TOKEN_END = 1,
  TOKEN_LITERAL,
  TOKEN_NAME,
  TOKEN_OPERATOR,
  TOKEN_OPEN,
  TOKEN_CLOSE,
  TOKEN_COMMA,
  TOKEN_DOT
};

struct token {
  enum token_kind kind;
  enum operation operation; /* OPERATOR; OP_NOT for `!` */
  size_t offset, length;
  struct value *literal; /* LITERAL; owned until taken */
};
/* The token at text[offset], blanks before it skipped. */
enum err token_next(const char *text, size_t size, size_t offset, struct token *token, struct expr_problem *problem);
enum err problem_set(struct expr_problem *problem, size_t offset, size_t length, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

struct function {
  const char *name;
  size_t least, most; /* arguments */
  bool is_status;
  enum function_id {
    FUNCTION_FORMAT = 1,
    FUNCTION_CONTAINS,
    FUNCTION_STARTS,
    FUNCTION_ENDS,
    FUNCTION_LOWER,
    FUNCTION_UPPER,
    FUNCTION_LENGTH,
    FUNCTION_LIST,
    FUNCTION_MIN,
    FUNCTION_MAX,
    FUNCTION_ROUND,
    FUNCTION_FLOOR,
    FUNCTION_CEIL,
    FUNCTION_ALWAYS,
    FUNCTION_FAILURE,
    FUNCTION_SUCCESS,
    FUNCTION_CANCELLED,
  } id;
};
extern const struct function expr_functions[]; /* ends with a row without name */

struct expr_node {
  enum operation operation;
  size_t offset, length; /* in the text that was parsed */
  struct value *literal;
  struct reference reference; /* name and key point into `words` */
  char *words;
  const struct function *function;
  struct expr_node **args;
  size_t arg_count;
};

struct expr {
  char *text; /* as written, trimmed */
  struct expr_node *root;
};

struct template_piece {
  char *literal; /* or */
  struct expr *expr;
  size_t offset; /* of the expression's text in the template */
};
struct template {
  struct template_piece *pieces;
  size_t count;
};

/* Parses text[begin, end) of a longer text: offsets are the longer text's. */
enum err expr_parse_within(const char *text, size_t begin, size_t end, struct expr **expr,
                           struct expr_problem *problem);
const char *operation_text(enum operation operation); /* "+" */

/* Types of two operands neither of which is null. */
enum value_type arithmetic_type(enum operation operation, enum value_type a, enum value_type b); /* 0: impossible */
bool comparable(enum operation operation, enum value_type a, enum value_type b);
type_set function_type(const struct function *f, const type_set *args, size_t count, size_t *bad); /* 0: see *bad */
enum err function_eval(const struct expr_node *node, struct value **args, struct value **v, struct error *e);
enum err value_compare(enum operation operation, const struct value *a, const struct value *b, bool *answer,
                       struct error *e);
#define TYPE_ANY                                                                                                       \
  (type_bit(VALUE_NULL) | type_bit(VALUE_BOOL) | type_bit(VALUE_INT) | type_bit(VALUE_NUMBER) | type_bit(VALUE_TEXT) | \
   type_bit(VALUE_DURATION) | type_bit(VALUE_SIZE) | type_bit(VALUE_BITRATE) | type_bit(VALUE_PERCENT) |               \
   type_bit(VALUE_LIST) | type_bit(VALUE_MAP))
void type_set_text(type_set set, struct buf *out); /* "duration or text" */
