/* command.h - what a command of `stagemill` is. One file a command (cmd_NAME.c), one line in COMMAND_TABLE; help text,
 * option parsing and shell completion all come from its row. */
#pragma once
#include <stddef.h>

#include "cli/options.h"

enum { /* exit codes: scripts rely on them */
  CLI_DONE = 0,
  CLI_FAILED = 1,      /* the job, the test or the check failed */
  CLI_USAGE = 2,       /* bad usage, pipeline or input */
  CLI_INTERRUPTED = 3, /* resumable */
  CLI_CANCELLED = 4,
};

struct command {
  const char *name, *summary; /* summary: one line, lower case, no full stop */
  const char *operands;       /* as in a usage line: "PIPELINE [INPUT]"; NULL: none */
  size_t operands_min, operands_max; /* SIZE_MAX: any number */
  const enum word_kind *words; /* for completion: kinds of the operands, the last one repeats; ended by 0; NULL: text */
  const struct option_row *options; /* ended by a row without name; NULL: none. --help is everybody's */
  const char *details;        /* paragraphs for --help; NULL: none */
  int (*run)(const struct options *options); /* an exit code; messages already printed */
};

/* Commands of the daemon's side need the engine; a tree without it still has the others. */
#ifdef STAGEMILL_WITH_ENGINE
#define COMMAND_TABLE_ENGINE(X)                                                                                        \
  X(run)                                                                                                               \
  X(jobs)                                                                                                              \
  X(cancel)                                                                                                            \
  X(retry)                                                                                                             \
  X(explain)                                                                                                           \
  X(pause)                                                                                                             \
  X(resume)                                                                                                            \
  X(release)                                                                                                           \
  X(submit)                                                                                                            \
  X(watch)                                                                                                             \
  X(upload)                                                                                                            \
  X(batch)                                                                                                             \
  X(logs)                                                                                                              \
  X(artifacts)                                                                                                         \
  X(stats)                                                                                                             \
  X(state)
#else
#define COMMAND_TABLE_ENGINE(X)
#endif

#ifdef STAGEMILL_WITH_SERVICE
#define COMMAND_TABLE_SERVICE(X)                                                                                       \
  X(serve)                                                                                                             \
  X(token)
#else
#define COMMAND_TABLE_SERVICE(X)
#endif

#ifdef STAGEMILL_WITH_HOST
#define COMMAND_TABLE_HOST(X)                                                                                          \
  X(check)                                                                                                             \
  X(plan)                                                                                                              \
  X(test)                                                                                                              \
  X(stages)                                                                                                            \
  X(plugins)                                                                                                           \
  X(doctor)                                                                                                            \
  X(completion)
#else
#define COMMAND_TABLE_HOST(X)
#endif

/* In the order help lists them: X(name) stands for `extern const struct command command_NAME`. */
#define COMMAND_TABLE(X)                                                                                               \
  COMMAND_TABLE_ENGINE(X)                                                                                              \
  COMMAND_TABLE_SERVICE(X)                                                                                             \
  COMMAND_TABLE_HOST(X)                                                                                                \
  X(version)                                                                                                           \
  X(help)

#define COMMAND_EXTERN(name) extern const struct command command_##name;
COMMAND_TABLE(COMMAND_EXTERN)
#undef COMMAND_EXTERN

extern const struct command *const commands[]; /* ended by NULL */
const struct command *command_find(const char *name);
/* The nearest command's name for a misspelt one, or NULL. */
const char *command_nearest(const char *name);
void command_usage(const struct command *command, struct buf *out);
void command_overview(struct buf *out);
/* Parses the words behind the command's name, answers --help, checks the number of operands, runs. */
int command_call(const struct command *command, int argc, char **argv);

/* Prints "stagemill: ..." to stderr and returns code, so that a command can `return cli_complain(...)`. */
int cli_complain(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for an error object; the exit code follows from its code: words, files and pipelines that are off are
 * CLI_USAGE, everything else CLI_FAILED. */
int cli_error(const struct error *e);
/* Writes text to stdout and flushes; a closed pipe or a full disk is CLI_FAILED with a message. */
int cli_print(const struct buf *text, int code);
