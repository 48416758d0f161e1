/* options.h - the words behind a command: options by table, operands in order.
 *
 * GNU habits: `--name VALUE`, `--name=VALUE`, `-n VALUE`, `-nVALUE`, flags of one letter joined, `--` ends options,
 * operands and options in any order. Names are never abbreviated: a script must not break when an option is added. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"

enum word_kind { WORD_TEXT = 1, WORD_FILE, WORD_FOLDER, WORD_PIPELINE, WORD_STAGE, WORD_JOB, WORD_SHELL, WORD_COMMAND };

struct option_row {
  const char *name;    /* without dashes; NULL ends the table */
  char letter;         /* 0: none */
  const char *value;   /* what its value is called in help, "FILE"; NULL: a flag */
  enum word_kind kind; /* of the value, for completion */
  bool repeated;       /* may be given several times */
  const char *summary;
};
#define OPTION_FLAG(name, letter, summary)                                                                             \
  { name, letter, NULL, WORD_TEXT, false, summary }
#define OPTION_VALUE(name, letter, value, kind, summary)                                                               \
  { name, letter, value, kind, false, summary }
#define OPTION_VALUES(name, letter, value, kind, summary)                                                              \
  { name, letter, value, kind, true, summary }
#define OPTION_JSON OPTION_FLAG("json", 0, "print JSON for programs")
#define OPTIONS_END                                                                                                    \
  { NULL, 0, NULL, WORD_TEXT, false, NULL }

struct options; /* borrows argv */
/* rows may be NULL. ERR_USAGE with a sentence that names the option and the nearest valid one. */
enum err options_parse(const struct option_row *rows, int argc, char **argv, struct options **options, struct error *e);
void options_free(struct options **options);
bool options_help(const struct options *options); /* --help or -h was among them */
bool options_flag(const struct options *options, const char *name);
const char *options_value(const struct options *options, const char *name); /* the last one given; NULL: none */
size_t options_values(const struct options *options, const char *name, const char **values, size_t room);
size_t options_count(const struct options *options);                      /* operands */
const char *options_operand(const struct options *options, size_t index); /* NULL beyond the last */
