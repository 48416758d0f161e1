/* cmd_token.c - `stagemill token`: mints a token with the daemon's key. Reads the key file alone, so it works while the
 * daemon owns the state folder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/auth.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/paths.h"
#include "cli/print.h"
#include "config/literal.h"

enum { GRANTS_MAX = 256, KEY_LOOK_BYTES = 1 << 20 };

/* ---- the key
 * --------------------------------------------------------------------------------------------------------------------
 */

/* The daemon's state folder: --state, then what systemd names, then where `serve` keeps it. */
static char *token_state(const struct options *options, struct error *e) {
  struct paths paths;
  const char *given = options_value(options, "state"), *variable = getenv("STAGEMILL_STATE");
  if (!given && variable && *variable) given = variable;
  if (given) return fs_absolute(NULL, given);
  if (paths_find(&paths, e)) return NULL;
  char *state = mem_text(geteuid() == 0 || !paths.state_home ? paths.system_state : paths.state_home);
  paths_clear(&paths);
  return state;
}

/* A key set names its keys; the file of a daemon's own key is one line of letters. */
static bool is_key_set(const char *path) {
  buf_auto struct buf text = {0};
  if (fs_read_file(path, KEY_LOOK_BYTES, &text, NULL)) return false;
  return strstr(buf_string(&text), "keys") && strpbrk(buf_string(&text), ":{");
}

static enum err token_keyring(const struct options *options, struct keyring **keyring, struct error *e) {
  const char *key = options_value(options, "key");
  mem_auto char *state = key ? NULL : token_state(options, e);
  if (!key && !state) return e->code;
  if (!key && access(state, F_OK))
    return error_set(e, ERR_USAGE,
                     "there is no state folder %s: name the daemon's with --state DIR, or its key with --key FILE",
                     state);
  mem_auto char *own = key ? mem_text(key) : mem_format("%s/token.key", state);
  if (key && access(key, R_OK)) return error_set(e, ERR_USAGE, "the key file %s cannot be read", key);
  struct keyring_options ring = {0};
  if (key && is_key_set(key))
    ring.file = key;
  else
    ring.own_file = own;
  return keyring_open(keyring, &ring, e);
}

/* ---- who it is for ----------------------------------------------------------------------------------------------- */

static enum err token_ttl(const char *text, int64_t *us, struct error *e) {
  const struct rule rule = {.key = "ttl", .takes = SM_TAKES_DURATION, .min = 1, .max = 10.0 * 365 * 86400, .unit = "s"};
  value_auto struct value *v = NULL;
  buf_auto struct buf why = {0};
  if (literal_parse(&rule, text, true, &v, &why)) return error_set(e, ERR_USAGE, "--ttl: %s", buf_string(&why));
  *us = v->integer;
  return ERR_OK;
}

static bool is_grant(const char *text) {
  static const char *const kinds[] = {"job:", "batch:", "asset:", "pipeline:"};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (!strncmp(text, kinds[i], strlen(kinds[i])) && text[strlen(kinds[i])]) return true;
  return false;
}

static enum err token_grants(const struct options *options, const char *grants[GRANTS_MAX], size_t *count,
                             struct error *e) {
  *count = options_values(options, "grant", grants, GRANTS_MAX);
  if (*count > GRANTS_MAX) return error_set(e, ERR_USAGE, "more than %d grants", GRANTS_MAX);
  for (size_t i = 0; i < *count; i++)
    if (!is_grant(grants[i]))
      return error_set(e, ERR_USAGE, "--grant %s: write job:ID, batch:ID, asset:ID or pipeline:NAME", grants[i]);
  return ERR_OK;
}

static enum err token_principal(const struct options *options, struct principal *p, const char *grants[GRANTS_MAX],
                                struct error *e) {
  const char *subject = options_value(options, "sub"), *scope = options_value(options, "scope"),
             *ttl = options_value(options, "ttl");
  int64_t us = 0;
  if (!subject || !*subject) return error_set(e, ERR_USAGE, "token needs --sub NAME: whom it speaks for");
  p->subject = (char *)subject;
  if (token_grants(options, grants, &p->grant_count, e)) return e->code;
  p->grants = (char **)grants;
  if (scopes_parse(scope ? scope : "submit,read", &p->scopes, e) || token_ttl(ttl ? ttl : "1h", &us, e)) return e->code;
  p->expires_us = clock_wall(&clock_system) + us;
  return ERR_OK;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static int token_print(const struct options *options, const char *token, const struct principal *p) {
  char at[32];
  buf_auto struct buf out = {0};
  if (options_flag(options, "json")) {
    value_auto struct value *v = value_map();
    value_set_text(v, "token", token);
    value_set_text(v, "subject", p->subject);
    value_set_text(v, "expiresAt", clock_format(p->expires_us, at));
    return print_json(v, CLI_DONE);
  }
  buf_format(&out, "%s\n", token);
  return cli_print(&out, CLI_DONE);
}

static int token_run(const struct options *options) {
  const char *grants[GRANTS_MAX];
  struct principal p = {0};
  struct keyring *keyring = NULL;
  struct error e = {0};
  char *token = NULL;
  enum err err = token_principal(options, &p, grants, &e);
  if (!err) err = token_keyring(options, &keyring, &e);
  if (!err) err = keyring_mint(keyring, &p, &token, &e);
  int code = err ? cli_error(&e) : token_print(options, token, &p);
  free(token);
  keyring_close(&keyring);
  return code;
}

static const struct option_row token_options[] = {
    OPTION_VALUE("sub", 0, "NAME", WORD_TEXT, "whom it speaks for: jobs that are submitted with it belong to NAME"),
    OPTION_VALUE("scope", 0, "SCOPES", WORD_TEXT, "of submit, read, pipelines, admin, follow; default: submit,read"),
    OPTION_VALUE("ttl", 0, "TIME", WORD_TEXT, "how long it is good, such as 1h, 30d; default: 1h"),
    OPTION_VALUES("grant", 0, "WHAT", WORD_TEXT, "job:ID, batch:ID, asset:ID or pipeline:NAME besides its own"),
    OPTION_VALUE("state", 0, "DIR", WORD_FOLDER, "state folder of the daemon; default: as `serve` has it"),
    OPTION_VALUE("key", 0, "FILE", WORD_FILE, "the daemon's key set, or the file of its own key, instead"),
    OPTION_JSON,
    OPTIONS_END,
};

const struct command command_token = {
    .name = "token",
    .summary = "print a token for the API",
    .options = token_options,
    .details = "Works while the daemon runs, and before its first start: it reads the key alone.\n\n"
               "  stagemill token --sub alice                            submits and reads her own jobs\n"
               "  stagemill token --sub ops --scope admin,submit,read    sees and steers everybody's\n"
               "  stagemill token --sub page --scope follow --grant job:ID --ttl 2h\n"
               "                                                         follows one job, for a browser\n",
    .run = token_run,
};
