#include "cli/options.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "config/report.h"

struct given {
  const struct option_row *row;
  const char *value;
};

struct options {
  struct given *given;
  size_t given_count;
  const char **operands;
  size_t operand_count;
  bool help;
};

static const struct option_row *row_by_name(const struct option_row *rows, const char *name, size_t size) {
  for (; rows && rows->name; rows++)
    if (strlen(rows->name) == size && !memcmp(rows->name, name, size)) return rows;
  return NULL;
}

static const struct option_row *row_by_letter(const struct option_row *rows, char letter) {
  for (; rows && rows->name; rows++)
    if (rows->letter == letter) return rows;
  return NULL;
}

static const char *nearest_option(const struct option_row *rows, const char *name) {
  const char *names[64] = {"help"};
  size_t count = 1;
  for (; rows && rows->name && count < 64; rows++) names[count++] = rows->name;
  return report_nearest(name, names, count);
}

static enum err unknown_option(const struct option_row *rows, const char *name, struct error *e) {
  const char *near = nearest_option(rows, name);
  if (near) return error_set(e, ERR_USAGE, "there is no option --%s: did you mean --%s?", name, near);
  return error_set(e, ERR_USAGE, "there is no option --%s", name);
}

static enum err keep(struct options *o, const struct option_row *row, const char *value, struct error *e) {
  for (size_t i = 0; i < o->given_count && row->value && !row->repeated; i++)
    if (o->given[i].row == row)
      return error_set(e, ERR_USAGE, "--%s is given twice ('%s' and '%s'): write it once", row->name, o->given[i].value,
                       value);
  o->given[o->given_count++] = (struct given){row, value};
  return ERR_OK;
}

/* One `--name[=value]`; *used says whether the next word was its value. */
static enum err take_long(struct options *o, const struct option_row *rows, const char *word, const char *next,
                          bool *used, struct error *e) {
  const char *name = word + 2, *equals = strchr(name, '=');
  mem_auto char *bare = mem_text_n(name, equals ? (size_t)(equals - name) : strlen(name));
  if (!strcmp(bare, "help")) {
    o->help = true;
    return ERR_OK;
  }
  const struct option_row *row = row_by_name(rows, bare, strlen(bare));
  if (!row) return unknown_option(rows, bare, e);
  if (!row->value && equals) return error_set(e, ERR_USAGE, "--%s takes no value: leave out '%s'", row->name, equals);
  if (!row->value || equals) return keep(o, row, equals ? equals + 1 : NULL, e);
  if (!next) return error_set(e, ERR_USAGE, "--%s needs a value: --%s %s", row->name, row->name, row->value);
  *used = true;
  return keep(o, row, next, e);
}

/* One `-abc`: flags joined, or the first letter that takes a value and what follows it. */
static enum err take_short(struct options *o, const struct option_row *rows, const char *word, const char *next,
                           bool *used, struct error *e) {
  for (const char *c = word + 1; *c; c++) {
    const struct option_row *row = row_by_letter(rows, *c);
    if (!row && *c == 'h') {
      o->help = true;
      continue;
    }
    if (!row) return error_set(e, ERR_USAGE, "there is no option -%c", *c);
    if (!row->value) {
      enum err err = keep(o, row, NULL, e);
      if (err) return err;
      continue;
    }
    if (c[1]) return keep(o, row, c + 1, e);
    if (!next) return error_set(e, ERR_USAGE, "-%c needs a value: -%c %s", *c, *c, row->value);
    *used = true;
    return keep(o, row, next, e);
  }
  return ERR_OK;
}

static enum err parse_words(struct options *o, const struct option_row *rows, int argc, char **argv, struct error *e) {
  bool only_operands = false;
  for (int i = 0; i < argc; i++) {
    const char *word = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
    bool used = false;
    enum err err = ERR_OK;
    if (only_operands || word[0] != '-' || !word[1]) {
      o->operands[o->operand_count++] = word;
    } else if (!strcmp(word, "--")) {
      only_operands = true;
    } else {
      err = (word[1] == '-' ? take_long : take_short)(o, rows, word, next, &used, e);
    }
    if (err) return err;
    i += used;
  }
  return ERR_OK;
}

enum err options_parse(const struct option_row *rows, int argc, char **argv, struct options **options,
                       struct error *e) {
  struct options *o = mem_alloc(sizeof *o);
  size_t letters = 0; /* an upper bound for the options given: every letter could be a flag */
  for (int i = 0; i < argc; i++) letters += argv[i][0] == '-' && argv[i][1] == '-' ? 1 : strlen(argv[i]);
  o->given = mem_array(letters + 1, sizeof *o->given);
  o->operands = mem_array((size_t)argc + 1, sizeof *o->operands);
  enum err err = parse_words(o, rows, argc, argv, e);
  if (err) options_free(&o);
  *options = o;
  return err;
}

void options_free(struct options **options) {
  if (!*options) return;
  free((*options)->given);
  free((*options)->operands);
  free(*options);
  *options = NULL;
}

bool options_help(const struct options *options) { return options->help; }

bool options_flag(const struct options *options, const char *name) {
  for (size_t i = 0; i < options->given_count; i++)
    if (!strcmp(options->given[i].row->name, name)) return true;
  return false;
}

const char *options_value(const struct options *options, const char *name) {
  const char *value = NULL;
  for (size_t i = 0; i < options->given_count; i++)
    if (!strcmp(options->given[i].row->name, name)) value = options->given[i].value;
  return value;
}

size_t options_values(const struct options *options, const char *name, const char **values, size_t room) {
  size_t count = 0;
  for (size_t i = 0; i < options->given_count; i++) {
    if (strcmp(options->given[i].row->name, name)) continue;
    if (count < room) values[count] = options->given[i].value;
    count++;
  }
  return count;
}

size_t options_count(const struct options *options) { return options->operand_count; }

const char *options_operand(const struct options *options, size_t index) {
  return index < options->operand_count ? options->operands[index] : NULL;
}
