#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "config/literal.h"
#include "pipeline/expr_parts.h"

enum err problem_set(struct expr_problem *problem, size_t offset, size_t length, const char *format, ...) {
  if (!problem) return ERR_INVALID;
  va_list list;
  va_start(list, format);
  vsnprintf(problem->message, sizeof problem->message, format, list);
  va_end(list);
  problem->offset = offset;
  problem->length = length ? length : 1;
  return ERR_INVALID;
}

static const struct {
  const char *text;
  enum operation operation;
} operators[] = {
    /* longer ones first */
    {"??", OP_COALESCE},
    {"||", OP_OR},
    {"&&", OP_AND},
    {"==", OP_EQUAL},
    {"!=", OP_UNEQUAL},
    {"<=", OP_LESS_EQUAL},
    {">=", OP_GREATER_EQUAL},
    {"<", OP_LESS},
    {">", OP_GREATER},
    {"+", OP_ADD},
    {"-", OP_SUBTRACT},
    {"*", OP_MULTIPLY},
    {"/", OP_DIVIDE},
    {"%", OP_MODULO},
    {"!", OP_NOT},
};

const char *operation_text(enum operation operation) {
  for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
    if (operators[i].operation == operation) return operators[i].text;
  return "?";
}

/* 'text', a quote inside doubled. */
static enum err read_text(const char *text, size_t size, struct token *t, struct expr_problem *problem) {
  buf_auto struct buf out = {0};
  for (size_t i = t->offset + 1; i < size; i++) {
    if (text[i] == '\'' && (i + 1 == size || text[i + 1] != '\'')) {
      t->length = i + 1 - t->offset;
      t->literal = value_text_n(buf_string(&out), out.size);
      return ERR_OK;
    }
    if (text[i] == '\'') i++;
    buf_char(&out, text[i]);
  }
  return problem_set(problem, t->offset, size - t->offset, "the quote that begins here does not end");
}

static enum err read_number(const char *text, size_t size, struct token *t, struct expr_problem *problem) {
  char digits[64];
  size_t room = size - t->offset < sizeof digits - 1 ? size - t->offset : sizeof digits - 1;
  memcpy(digits, text + t->offset, room);
  digits[room] = 0;
  t->length = literal_scan(digits, &t->literal);
  char behind = t->length < room ? digits[t->length] : ' ';
  if (t->length && !isalnum((unsigned char)behind) && behind != '_' && behind != '.') return ERR_OK;
  value_free(&t->literal);
  size_t word = strspn(digits, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._%");
  return problem_set(problem, t->offset, word, "`%.*s` is no number: write 12, 1.5, 6s, 1m30s, 800k, 1.5G or 10%%",
                     (int)word, digits);
}

static bool name_start(char c) { return isalpha((unsigned char)c) || c == '_'; }
static bool name_char(char c) { return isalnum((unsigned char)c) || c == '_' || c == '-'; }

static enum err read_operator(const char *text, size_t size, struct token *t, struct expr_problem *problem) {
  const char *s = text + t->offset;
  for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
    size_t n = strlen(operators[i].text);
    if (size - t->offset < n || strncmp(s, operators[i].text, n) != 0) continue;
    t->kind = TOKEN_OPERATOR;
    t->operation = operators[i].operation;
    t->length = n;
    return ERR_OK;
  }
  if (*s == '"') return problem_set(problem, t->offset, 1, "texts stand in single quotes: 'text'");
  if (*s == '=') return problem_set(problem, t->offset, 1, "to compare, write `==`");
  if (*s == '&' || *s == '|') return problem_set(problem, t->offset, 1, "write `%c%c`", *s, *s);
  if (isprint((unsigned char)*s)) return problem_set(problem, t->offset, 1, "`%c` cannot stand here", *s);
  return problem_set(problem, t->offset, 1, "this character can only stand inside quotes");
}

enum err token_next(const char *text, size_t size, size_t offset, struct token *t, struct expr_problem *problem) {
  while (offset < size && strchr(" \t\r\n", text[offset])) offset++;
  *t = (struct token){.kind = TOKEN_END, .offset = offset, .length = 0};
  if (offset >= size) return ERR_OK;
  char c = text[offset];
  t->length = 1;
  t->kind = TOKEN_LITERAL;
  if (c == '\'') return read_text(text, size, t, problem);
  if (isdigit((unsigned char)c)) return read_number(text, size, t, problem);
  if (name_start(c)) {
    t->kind = TOKEN_NAME;
    while (offset + t->length < size && name_char(text[offset + t->length])) t->length++;
    return ERR_OK;
  }
  static const struct {
    char c;
    enum token_kind kind;
  } marks[] = {{'(', TOKEN_OPEN}, {')', TOKEN_CLOSE}, {',', TOKEN_COMMA}, {'.', TOKEN_DOT}};
  for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
    if (marks[i].c == c) return t->kind = marks[i].kind, ERR_OK;
  return read_operator(text, size, t, problem);
}
