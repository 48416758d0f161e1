/* cmd_serve.c - `stagemill serve`: the words of the daemon. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/serve.h"

static const char system_config[] = "/etc/stagemill/stagemill.yaml";
static const int64_t READY_TOKEN_US = 7 * 86400 * 1000000LL;

/* ---- words
 * --------------------------------------------------------------------------------------------------------------------
 */

static char *find_config(const struct options *options) {
  const char *given = options_value(options, "config"), *variable = getenv("STAGEMILL_CONFIG");
  if (!given && variable && *variable) given = variable;
  if (given) return fs_absolute(NULL, given);
  return access(system_config, F_OK) ? NULL : mem_text(system_config);
}

static enum err take_sets(const struct options *options, struct value *overrides, struct error *e) {
  const char *words[256];
  size_t count = options_values(options, "set", words, 256);
  for (size_t i = 0; i < count && i < 256; i++) {
    const char *equals = strchr(words[i], '=');
    if (!equals || equals == words[i])
      return error_set(e, ERR_USAGE, "--set %s is no KEY=VALUE: write for example --set uploads.max=5G", words[i]);
    mem_auto char *key = mem_text_n(words[i], (size_t)(equals - words[i]));
    value_set_text(overrides, key, equals + 1);
  }
  return ERR_OK;
}

static enum err find_overrides(const struct options *options, struct value *overrides, struct error *e) {
  static const struct {
    const char *option, *key;
  } rows[] = {{"listen", "listen"}, {"state", "state"}, {"make-key", "auth.make-key"}};
  enum err err = take_sets(options, overrides, e);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const char *value = options_value(options, rows[i].option);
    if (value) value_set_text(overrides, rows[i].key, value);
  }
  const char *folders[64];
  size_t count = options_values(options, "pipelines", folders, 64);
  buf_auto struct buf list = {0};
  for (size_t i = 0; i < count && i < 64; i++) buf_format(&list, "%s%s", i ? "," : "", folders[i]);
  if (list.size) value_set_text(overrides, "pipelines", buf_string(&list));
  if (options_flag(options, "json-log")) value_set_text(overrides, "log.format", "json");
  return err;
}

/* ---- ready
 * --------------------------------------------------------------------------------------------------------------------
 */

/* The journal keeps what it gets, and others may read it: no token there. */
static bool may_print_token(const struct settings *s) {
  return !s->auth.keys && !s->auth.own_key && !getenv("JOURNAL_STREAM");
}

static char *ready_url(struct serve *serve, const struct settings *s) {
  unsigned port = http_server_port(serve->http);
  mem_auto char *host = mem_text_n(s->listen, strcspn(s->listen, ":"));
  mem_auto char *own = mem_format("http://%s:%u", strcmp(host, "0.0.0.0") ? host : "127.0.0.1", port);
  char subject[] = "operator", *token = NULL;
  struct principal operator= {.subject = subject,
                              .scopes = SCOPE_READ | SCOPE_SUBMIT | SCOPE_PIPELINES | SCOPE_ADMIN,
                              .expires_us = clock_wall(&clock_system) + READY_TOKEN_US};
  struct error e = {0};
  if (may_print_token(s) && keyring_mint(serve->service.keyring, &operator, & token, &e))
    log_warning("no token for the ready URL: %s", e.message);
  const char *base = s->public_url ? s->public_url : own;
  char *url = token ? mem_format("%s/?token=%s", base, token) : mem_format("%s/", base);
  free(token);
  return url;
}

static void say_ready(struct serve *serve) {
  const struct settings *settings = settings_hold(serve->service.settings);
  mem_auto char *url = ready_url(serve, settings);
  printf("stagemill: ready at %s\n", url);
  fflush(stdout);
  log_info("serving on %.*s:%u, state in %s", (int)strcspn(settings->listen, ":"), settings->listen,
           http_server_port(serve->http), serve->state_folder);
  settings_release(serve->service.settings, &settings);
  notify_ready(serve->notifier);
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

/* Settings, keys and pipelines, as a start would find them; nothing is made, nothing is owned. */
static int check_pipelines(struct serve *serve, const struct settings *settings, struct error *e) {
  buf_auto struct buf text = {0};
  if (serve_shelf(serve, settings, e)) return cli_error(e);
  const struct shelf_set *set = shelf_hold(serve->service.shelf);
  size_t problems = shelf_problems(set), count = shelf_count(set);
  for (size_t i = 0; i < count; i++)
    if (shelf_at(set, i)->problems) report_text(shelf_at(set, i)->problems, &text, isatty(STDERR_FILENO));
  shelf_release(serve->service.shelf, &set);
  fwrite(buf_string(&text), 1, text.size, stderr);
  if (problems) return CLI_USAGE;
  printf("%s: ok, %zu pipeline%s\n", serve->config_file ? serve->config_file : "the configuration", count,
         count == 1 ? "" : "s");
  return CLI_DONE;
}

static int check_only(struct serve *serve, const struct settings *settings) {
  struct error e = {0};
  struct keyring *keyring = NULL;
  struct keyring_options keys = {.file = settings->auth.keys};
  log_open(STDERR_FILENO, LOG_LEVEL_ERROR + 1, false); /* problems are shown with their source instead */
  if (serve_address_allowed(settings, &e) || site_open(&serve->site, false, &e)) return cli_error(&e);
  if (keys.file && keyring_open(&keyring, &keys, &e)) return cli_error(&e);
  keyring_close(&keyring);
  return check_pipelines(serve, settings, &e);
}

static int serve_with(struct serve *serve, struct settings *settings) {
  log_open(STDERR_FILENO, (enum log_level)settings->log.level, settings->log.json);
  int code = serve_signals(serve);
  if (code == CLI_DONE)
    code = serve_open(serve, settings);
  else
    settings_free(&settings);
  if (code != CLI_DONE) return code;
  serve_watch(serve);
  say_ready(serve);
  loop_run(serve->service.loop);
  log_info("stopped");
  return CLI_DONE;
}

static int serve_run(const struct options *options) {
  struct serve serve = {.signal_fd = -1, .overrides = value_map(), .config_file = find_config(options)};
  struct settings *settings = NULL;
  struct error e = {0};
  int code = CLI_DONE;
  if (find_overrides(options, serve.overrides, &e)) code = cli_error(&e);
  if (code == CLI_DONE) code = serve_settings(&serve, &settings);
  if (code == CLI_DONE && options_flag(options, "check")) {
    code = check_only(&serve, settings);
    settings_free(&settings);
  } else if (code == CLI_DONE) {
    serve.notifier = notifier_new();
    if (site_open(&serve.site, false, &e)) {
      code = cli_error(&e);
      settings_free(&settings);
    } else {
      code = serve_with(&serve, settings);
    }
  }
  serve_close(&serve);
  return code;
}

static const struct option_row serve_options[] = {
    OPTION_VALUE("listen", 0, "ADDR:PORT", WORD_TEXT, "address and port; default: 127.0.0.1:8060"),
    OPTION_VALUE("state", 0, "DIR", WORD_FOLDER,
                 "state folder; default: /var/lib/stagemill as root, else the user's state home"),
    OPTION_VALUES("pipelines", 0, "DIR", WORD_FOLDER,
                  "folder of pipelines that can be submitted; default: those that ship"),
    OPTION_VALUE("config", 0, "FILE", WORD_FILE, "settings; default: /etc/stagemill/stagemill.yaml where it exists"),
    OPTION_VALUE("make-key", 0, "FILE", WORD_FILE, "make the key of tokens in this file when it is absent"),
    OPTION_VALUES("set", 0, "KEY=VALUE", WORD_TEXT, "a setting, over file and environment"),
    OPTION_FLAG("json-log", 0, "log lines as JSON"),
    OPTION_FLAG("check", 0, "check settings, keys and pipelines, and end"),
    OPTIONS_END,
};

const struct command command_serve = {
    .name = "serve",
    .summary = "run the daemon: HTTP API, WebSocket followers, dashboard",
    .options = serve_options,
    .details =
        "Without a key it listens on this machine only, makes a key of its own in the state folder and prints a URL\n"
        "that is ready to be opened; `stagemill token` prints tokens for others.\n\n"
        "Settings come from the file, over it the environment (`uploads: {max: 20G}` is STAGEMILL_UPLOADS_MAX), over\n"
        "it these options.\n\n"
        "SIGHUP reads settings, pipelines and keys again, all or nothing. SIGTERM stops it: running attempts may\n"
        "finish for a while (limits.drain), the others are handed back without costing an attempt; a second one\n"
        "hurries. Jobs go on at the next start, also after a crash.\n\n"
        "Exit codes: 0 stopped, 1 failed (port taken, disk), 2 bad usage or settings, or the state folder is owned.\n",
    .run = serve_run,
};
