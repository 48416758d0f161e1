/* cmd_run.c - `stagemill run`: one job, from submission to its end, in the foreground. The process that owns the state
 * folder runs the engine; a second one with the same command follows it through control.sock. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/screen.h"
#include "cli/site.h"
#include "config/literal.h"
#include "engine/door.h"
#include "engine/engine.h"

enum { RUN_ATTACH_TRIES = 50, RUN_ATTACH_EVERY_US = 100 * 1000 };

struct run {
  const struct options *options;
  struct site site;
  struct pipeline *pipeline;
  struct value *given;
  char *output_folder, *state_folder;
  struct submission submission;
  struct screen *screen;
  struct loop *loop;
  struct engine *engine;
  struct door *door;
  struct listener *listener;
  struct loop_watch *signals;
  int signal_fd;
  char job[STORE_ID_MAX];
  int64_t seen; /* `state` told about events up to here */
  unsigned interrupts;
  int code;
  bool attach; /* another process owns the folder */
};

/* ---- words ------------------------------------------------------------------------------------------------------- */

static enum err run_given(struct run *run, struct error *e) {
  const char *words[256];
  size_t count = options_values(run->options, "param", words, 256);
  if (count > 256) return error_set(e, ERR_USAGE, "more than 256 parameters are given");
  value_auto struct value *typed = NULL; /* the engine makes its own; here mistakes are found before it starts */
  enum err err = site_texts(words, count, &run->given, e);
  return err ? err : site_params(run->pipeline, words, count, &typed, e);
}

/* ./NAME.out, NAME being the input's name without its extension, or the pipeline's. */
static char *run_default_output(const struct run *run) {
  const char *input = options_operand(run->options, 1);
  if (!input) return mem_format("%s.out", run->pipeline->name);
  mem_auto char *name = mem_text(fs_base_name(input));
  char *dot = strrchr(name, '.');
  if (dot && dot != name) *dot = '\0';
  return mem_format("%s.out", *name ? name : run->pipeline->name);
}

static void run_folders(struct run *run) {
  const char *output = options_value(run->options, "output"), *state = options_value(run->options, "state");
  mem_auto char *otherwise = run_default_output(run);
  run->output_folder = fs_absolute(NULL, output ? output : otherwise);
  run->state_folder = state ? fs_absolute(NULL, state) : mem_format("%s/.stagemill", run->output_folder);
}

static int run_prepare(struct run *run) {
  char identity[65];
  struct error e = {0};
  int code = CLI_DONE;
  if (site_open(&run->site, false, &e)) return cli_error(&e);
  run->pipeline = site_pipeline(&run->site, options_operand(run->options, 0), &code);
  if (!run->pipeline) return code;
  if (run_given(run, &e)) return cli_error(&e);
  run_folders(run);
  run->submission = (struct submission){.pipeline = run->pipeline, .input = options_operand(run->options, 1),
                                        .given = run->given, .output_folder = run->output_folder,
                                        .fresh = options_flag(run->options, "fresh"), .priority = -1};
  if (submission_identity(&run->submission, identity, &e)) return cli_complain(CLI_USAGE, "%s", e.message);
  enum screen_mode mode = options_flag(run->options, "json")    ? SCREEN_JSON
                          : options_flag(run->options, "quiet") ? SCREEN_QUIET
                                                                : screen_detect();
  run->screen = screen_new(mode, run->output_folder);
  return CLI_DONE;
}

/* ---- as owner ---------------------------------------------------------------------------------------------------- */

static void run_end(struct run *run, int code) {
  run->code = code;
  loop_stop(run->loop);
}

static void run_idle(void *context) {
  struct run *run = context;
  if (run->code < 0) run_end(run, CLI_INTERRUPTED);
}

static void run_signalled(void *context, int fd, uint32_t events) {
  struct run *run = context;
  struct signalfd_siginfo info;
  (void)events;
  if (read(fd, &info, sizeof info) != sizeof info) return;
  run->interrupts++;
  screen_say(run->screen, run->interrupts == 1 ? "interrupting: running stages are given 10 s to stop; again to kill them"
                                               : "killing what still runs");
  engine_interrupt(run->engine, run->interrupts > 1, run_idle, run);
}

/* Stays to the end of the terminal event's own turn, so that other followers get it too. */
static void run_stop(void *context) {
  struct run *run = context;
  loop_stop(run->loop);
}

/* A stage waits for a person: how to answer, from another terminal. */
static void run_held(struct run *run, const struct value *event) {
  if (strcmp(value_get_text(event, "type", ""), "state") || strcmp(value_get_text(event, "status", ""), "held")) return;
  const char *stage = value_get_text(event, "stage", NULL), *message = value_get_text(event, "message", NULL);
  if (!stage) {
    screen_say(run->screen, "held: %s", value_get_text(event, "waitReason", "see `stagemill explain`"));
    return;
  }
  screen_say(run->screen, "%s waits for a person: %s", stage, message ? message : value_get_text(event, "title", ""));
  screen_say(run->screen, "`stagemill release %s %s --state %s` lets it go on; with --reject it fails", run->job, stage,
             run->state_folder);
}

static void run_heard(void *context, const struct news *news) {
  struct run *run = context;
  if (!news->job || strcmp(run->job, news->job) != 0) return;
  if (news->stored && (int64_t)news->seq <= run->seen) return;
  screen_event(run->screen, news->event, news->json);
  run_held(run, news->event);
  int code = screen_outcome(run->screen, news->event);
  if (code < 0) return;
  run->code = code;
  loop_after(run->loop, 50 * 1000, run_stop, run);
}

static void run_finished_before(struct run *run) {
  value_auto struct value *state = NULL;
  struct error e;
  if (engine_state(run->engine, run->job, &state, &e)) {
    run_end(run, cli_error(&e));
    return;
  }
  buf_auto struct buf json = {0};
  value_json(&json, state, VALUE_JSON_COMPACT);
  screen_event(run->screen, state, buf_string(&json));
  screen_say(run->screen, "already done as job %s; --fresh does it again", run->job);
  run_end(run, screen_outcome(run->screen, state));
}

static void run_submitted(void *context, const char *job, enum submit_outcome outcome, const struct error *e) {
  struct run *run = context;
  if (run->code >= 0) return; /* interrupted meanwhile */
  if (!job) {
    bool worlds = e->code == ERR_NO_SPACE || e->code == ERR_IO || e->code == ERR_CORRUPT || e->code == ERR_INTERNAL;
    run_end(run, cli_complain(worlds ? CLI_FAILED : CLI_USAGE, "%s", e->message));
    return;
  }
  snprintf(run->job, sizeof run->job, "%s", job);
  if (outcome == SUBMIT_FINISHED) {
    run_finished_before(run);
    return;
  }
  value_auto struct value *state = NULL;
  if (engine_state(run->engine, job, &state, NULL)) return;
  buf_auto struct buf json = {0};
  value_json(&json, state, VALUE_JSON_COMPACT);
  screen_event(run->screen, state, buf_string(&json));
  run->seen = value_get_int(state, "seq", 0);
  run_held(run, state);
  if (outcome != SUBMIT_NEW) screen_resumed(run->screen, state);
}

static int run_signals(struct run *run) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  sigprocmask(SIG_BLOCK, &set, NULL); /* before any thread is made, so that all of them inherit it */
  signal(SIGPIPE, SIG_IGN);
  run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  return run->signal_fd < 0 ? cli_complain(CLI_FAILED, "cannot watch signals: %s", strerror(errno)) : CLI_DONE;
}

/* STAGEMILL_ATTEMPTS_MEMORY: a size such as 4G; the whole machine's three quarters otherwise. */
static enum err run_memory_limit(int64_t *limit_bytes, struct error *e) {
  const char *text = getenv("STAGEMILL_ATTEMPTS_MEMORY");
  *limit_bytes = 0;
  if (!text || !*text) return ERR_OK;
  value_auto struct value *size = NULL;
  if (literal_scan(text, &size) == strlen(text))
    *limit_bytes = size->type == VALUE_NUMBER ? (int64_t)size->number : size->type == VALUE_INT ? size->integer : 0;
  if (*limit_bytes >= 1 << 20) return ERR_OK;
  return error_set(e, ERR_USAGE, "STAGEMILL_ATTEMPTS_MEMORY is '%s': write a size of at least 1M, such as 4G", text);
}

static int run_own(struct run *run) {
  struct error e = {0};
  struct engine_options options = {.state_folder = run->state_folder, .loop = run->loop, .catalogue = run->site.catalogue,
                                   .only_submitted = true,
                                   .crew = {.runner_path = run->site.paths.runner,
                                            .pass_module_path = run->site.paths.pass_module,
                                            .attempt_uid = -1, .attempt_gid = -1}};
  if (run_memory_limit(&options.memory_limit_bytes, &e)) return cli_error(&e);
  if (fs_make_folders(run->output_folder, 0755, &e)) return cli_complain(CLI_USAGE, "%s", e.message);
  enum err err = engine_create(&run->engine, &options, &e);
  if (err == ERR_BUSY) {
    run->attach = true;
    return CLI_DONE;
  }
  if (err) return cli_complain(CLI_FAILED, "%s", e.message);
  if (door_open(&run->door, run->engine, run->loop, run->state_folder, &e)) return cli_error(&e);
  run->listener = engine_listen(run->engine, run_heard, run);
  run->signals = loop_watch(run->loop, run->signal_fd, EPOLLIN, run_signalled, run);
  run->code = -1;
  if (engine_submit(run->engine, &run->submission, run_submitted, run, &e))
    return cli_complain(e.code == ERR_NO_SPACE || e.code == ERR_IO ? CLI_FAILED : CLI_USAGE, "%s", e.message);
  if (run->code < 0) loop_run(run->loop);
  if (run->code == CLI_INTERRUPTED) {
    screen_free(&run->screen);
    fprintf(stderr, "stagemill: interrupted; the same command goes on where this one stopped\n");
  }
  return run->code;
}

/* ---- as follower ------------------------------------------------------------------------------------------------- */

static int run_follow_events(struct run *run, int fd, struct buf *rest) {
  for (;;) {
    value_auto struct value *event = NULL;
    struct error e;
    struct signalfd_siginfo info;
    enum err err = door_receive(fd, rest, 200, &event, &e);
    if (read(run->signal_fd, &info, sizeof info) == sizeof info) {
      screen_say(run->screen, "detached; the job goes on");
      return CLI_INTERRUPTED;
    }
    if (err == ERR_TIMEOUT) continue;
    if (err) return -1; /* the owner ended: perhaps interrupted, perhaps killed */
    buf_auto struct buf json = {0};
    value_json(&json, event, VALUE_JSON_COMPACT);
    screen_event(run->screen, event, buf_string(&json));
    int code = screen_outcome(run->screen, event);
    if (code >= 0) return code;
  }
}

/* -1: there is nobody to follow (any more). */
static int run_follow(struct run *run, int fd) {
  char identity[65];
  struct error e = {0};
  buf_auto struct buf rest = {0};
  value_auto struct value *request = value_map(), *answer = NULL;
  if (submission_identity(&run->submission, identity, &e)) return cli_complain(CLI_USAGE, "%s", e.message);
  value_set_text(request, "op", "run");
  value_set_text(request, "identity", identity);
  if (door_send(fd, request, &e) || door_receive(fd, &rest, 5000, &answer, &e)) return -1;
  if (value_get_bool(answer, "starting", false)) return -1; /* perhaps the same command, a moment ahead */
  if (!value_get_bool(answer, "ok", false))
    return cli_complain(CLI_USAGE, "%s: %s", run->state_folder, value_get_text(answer, "message", "refused"));
  screen_say(run->screen, "following job %s, which process %lld runs", value_get_text(answer, "jobId", ""),
             (long long)value_get_int(answer, "pid", 0));
  return run_follow_events(run, fd, &rest);
}

static int run_either(struct run *run) {
  struct error e = {0};
  for (int tries = 0; tries < RUN_ATTACH_TRIES; tries++) {
    run->attach = false;
    int code = run_own(run);
    if (!run->attach) return code;
    fd_auto int fd = door_connect(run->state_folder);
    code = fd < 0 ? -1 : run_follow(run, fd);
    if (code >= 0) return code;
    usleep(RUN_ATTACH_EVERY_US); /* the owner is just starting or just ending */
  }
  error_set(&e, ERR_BUSY, "%s is owned by a process that does not answer", run->state_folder);
  return cli_complain(CLI_USAGE, "%s", e.message);
}

static void run_clear(struct run *run) {
  if (run->engine) engine_unlisten(run->engine, &run->listener);
  door_close(&run->door);
  engine_destroy(&run->engine);
  if (run->loop) loop_unwatch(run->loop, &run->signals);
  if (run->signal_fd >= 0) close(run->signal_fd);
  loop_destroy(&run->loop);
  screen_free(&run->screen);
  pipeline_free(&run->pipeline);
  value_free(&run->given);
  free(run->output_folder);
  free(run->state_folder);
  site_close(&run->site);
}

static int run_run(const struct options *options) {
  struct run run = {.options = options, .signal_fd = -1};
  struct error e = {0};
  setlocale(LC_CTYPE, "");
  log_open(STDERR_FILENO, getenv("STAGEMILL_DEBUG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR, false);
  int code = run_prepare(&run);
  if (code == CLI_DONE && loop_create(&run.loop, &clock_system, &e)) code = cli_error(&e);
  if (code == CLI_DONE) code = run_signals(&run);
  if (code == CLI_DONE) code = run_either(&run);
  run_clear(&run);
  return code;
}

static const struct option_row run_options[] = {
    OPTION_VALUES("param", 'p', "NAME=VALUE", WORD_TEXT, "set a parameter of the pipeline"),
    OPTION_VALUE("output", 'o', "OUT", WORD_FOLDER, "output folder; default: ./NAME.out after the input's name"),
    OPTION_VALUE("state", 0, "DIR", WORD_FOLDER, "state folder; default: OUT/.stagemill"),
    OPTION_FLAG("json", 0, "print one event a line as JSON"),
    OPTION_FLAG("quiet", 'q', "print nothing but errors"),
    OPTION_FLAG("fresh", 0, "forget an earlier job of the same command"),
    OPTIONS_END,
};
static const enum word_kind run_words[] = {WORD_PIPELINE, WORD_FILE, 0};

const struct command command_run = {
    .name = "run",
    .summary = "run a pipeline on an input and show its progress",
    .operands = "PIPELINE [INPUT]",
    .operands_min = 1,
    .operands_max = 2,
    .words = run_words,
    .options = run_options,
    .details = "The same command again goes on where the last one stopped: finished stages are kept. While one runs, a\n"
               "second one follows it. A finished job prints its result.\n\n"
               "Artifacts of stage S stand under OUT/S/, the summary in OUT/job.json.\n\n"
               "Exit codes: 0 done, 1 the job failed, 2 bad usage, pipeline or input, 3 interrupted (the same command\n"
               "goes on), 4 cancelled.\n",
    .run = run_run,
};
