/* cmd_release.c - the word of a person that a held stage waits for: it goes on, or it is rejected. Of a daemon, or of the owner
 * of a state folder. */
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/command.h"
#include "cli/owner.h"
#include "cli/print.h"
#include "cli/remote.h"
#include "cli/site.h"

enum { VALUES_MAX = 64 };

/* Who decides, when no token says so. */
static const char *release_by(void) {
  const struct passwd *user = getpwuid(getuid());
  return user && user->pw_name ? user->pw_name : "an operator";
}

static enum err release_values(const struct options *options, struct value *body, struct error *e) {
  const char *words[VALUES_MAX];
  struct value *values = NULL;
  size_t count = options_values(options, "param", words, VALUES_MAX);
  if (count > VALUES_MAX) return error_set(e, ERR_USAGE, "more than %d values are given", VALUES_MAX);
  if (!count) return ERR_OK;
  if (site_texts(words, count, &values, e)) return e->code;
  value_map_set(body, "values", values);
  return ERR_OK;
}

static struct value *release_remote(const struct options *options, struct value *body, int *code) {
  struct error e = {0};
  struct value *answer = NULL;
  struct remote *remote = remote_open(options, code);
  if (!remote) return NULL;
  mem_auto char *id = remote_job(remote, options_operand(options, 0), &e);
  mem_auto char *path = mem_format("/api/v1/jobs/%s/release", id ? id : "");
  if (!id)
    *code = cli_error(&e);
  else
    answer = remote_ask(remote, "POST", path, body, code);
  remote_close(&remote);
  return answer;
}

static struct value *release_local(const struct options *options, struct value *body, int *code) {
  value_set_text(body, "op", "release");
  value_set_text(body, "id", options_operand(options, 0));
  value_set_text(body, "by", release_by());
  return owner_request(options, body, code);
}

static int release_run(const struct options *options) {
  int code = CLI_DONE;
  struct error e = {0};
  bool reject = options_flag(options, "reject");
  value_auto struct value *body = value_map(), *answer = NULL;
  value_set_text(body, "stage", options_operand(options, 1));
  value_set_text(body, "decision", reject ? "rejected" : "released");
  if (options_value(options, "comment")) value_set_text(body, "comment", options_value(options, "comment"));
  if (release_values(options, body, &e)) return cli_error(&e);
  answer = remote_named(options) ? release_remote(options, body, &code) : release_local(options, body, &code);
  if (!answer) return code;
  if (options_flag(options, "json")) return print_json(answer, CLI_DONE);
  buf_auto struct buf out = {0};
  buf_format(&out, "%s: stage %s is %s\n", options_operand(options, 0), options_operand(options, 1),
             reject ? "rejected" : "released");
  return cli_print(&out, CLI_DONE);
}

static const enum word_kind release_words[] = {WORD_JOB, WORD_TEXT, 0};
static const struct option_row release_options[] = {
    OPTION_FLAG("reject", 0, "do not let it go on: the stage fails, and with it the job"),
    OPTION_VALUE("comment", 0, "TEXT", WORD_TEXT, "what is to be said with it"),
    OPTION_VALUES("param", 'p', "NAME=VALUE", WORD_TEXT, "a value that the stage asks for"),
    OWNER_OPTIONS,
    REMOTE_OPTIONS,
    OPTION_JSON,
    OPTIONS_END,
};

const struct command command_release = {
    .name = "release",
    .summary = "let go of a stage that waits for a person, or reject it",
    .operands = "ID STAGE",
    .operands_min = 2,
    .operands_max = 2,
    .words = release_words,
    .options = release_options,
    .details = "ID may be a unique beginning of a job's id, or `last`. What the stage asks for is said by `stagemill explain ID`.\n"
               "A job that nobody runs at the moment goes on when its command is run again.\n",
    .run = release_run,
};
