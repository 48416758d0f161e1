#include <string.h>

#include "base/mem.h"
#include "config/literal.h"
#include "pipeline/expr_parts.h"

enum { PIECES_MAX = 128 };

void template_free(struct template **t) {
  if (!*t) return;
  for (size_t i = 0; i < (*t)->count; i++) {
    free((*t)->pieces[i].literal);
    expr_free(&(*t)->pieces[i].expr);
  }
  free((*t)->pieces);
  free(*t);
  *t = NULL;
}

static struct template_piece *piece_add(struct template *t) {
  t->pieces = mem_grow(t->pieces, t->count + 1, sizeof *t->pieces);
  t->pieces[t->count] = (struct template_piece){0};
  return &t->pieces[t->count++];
}

/* Offset of the }} that ends the expression at `at`, quotes skipped; SIZE_MAX when there is none. */
static size_t expression_end(const char *text, size_t at) {
  bool quoted = false;
  for (; text[at]; at++) {
    if (text[at] == '\'') quoted = !quoted;
    if (!quoted && text[at] == '}' && text[at + 1] == '}') return at;
  }
  return SIZE_MAX;
}

static enum err add_expression(struct template *t, const char *text, size_t begin, size_t *next,
                               struct expr_problem *problem) {
  size_t end = expression_end(text, begin + 3);
  if (end == SIZE_MAX)
    return problem_set(problem, begin, 3, "the `${{` that begins here does not end: `}}` is missing");
  struct template_piece *piece = piece_add(t);
  piece->offset = begin + 3;
  *next = end + 2;
  return expr_parse_within(text, begin + 3, end, &piece->expr, problem);
}

enum err template_parse(const char *text, struct template **out, struct expr_problem *problem) {
  struct template *t = mem_alloc(sizeof *t);
  *out = NULL;
  for (size_t at = 0; text[at];) {
    const char *open = strstr(text + at, "${{");
    size_t literal = open ? (size_t)(open - text) - at : strlen(text + at);
    if (literal) piece_add(t)->literal = mem_text_n(text + at, literal);
    at += literal;
    enum err err = open ? add_expression(t, text, at, &at, problem) : ERR_OK;
    if (!err && t->count > PIECES_MAX) err = problem_set(problem, at, 1, "too many expressions in one text");
    if (err) return template_free(&t), err;
  }
  *out = t;
  return ERR_OK;
}

bool template_is_literal(const struct template *t) { return t->count == 0 || (t->count == 1 && t->pieces[0].literal); }

void template_references(const struct template *t, reference_visit *visit, void *context) {
  for (size_t i = 0; i < t->count; i++)
    if (t->pieces[i].expr) expr_references(t->pieces[i].expr, visit, context);
}

static enum err add_piece(const struct template_piece *piece, const struct scope *scope, struct buf *text, bool *secret,
                          struct error *e) {
  if (piece->literal) return buf_text(text, piece->literal), ERR_OK;
  value_auto struct value *v = NULL;
  enum err err = expr_eval(piece->expr, scope, &v, e);
  if (err) return err;
  *secret |= v->secret;
  if (!literal_text(v, text))
    return error_set(e, ERR_INVALID, "`%s` is a list: it cannot stand inside a text", piece->expr->text);
  if (text->size > EXPR_RESULT_MAX)
    return error_set(e, ERR_TOO_LARGE, "the text made with `%.100s` is longer than %d KiB", piece->expr->text,
                     EXPR_RESULT_MAX >> 10);
  return ERR_OK;
}

enum err template_eval(const struct template *t, const struct scope *scope, struct value **v, struct error *e) {
  if (t->count == 1 && t->pieces[0].expr) return expr_eval(t->pieces[0].expr, scope, v, e);
  buf_auto struct buf text = {0};
  bool secret = false;
  *v = NULL;
  for (size_t i = 0; i < t->count; i++) {
    enum err err = add_piece(&t->pieces[i], scope, &text, &secret, e);
    if (err) return err;
  }
  *v = value_text_n(buf_string(&text), text.size);
  (*v)->secret = secret;
  return ERR_OK;
}
