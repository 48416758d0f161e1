#include "cli/owner.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/paths.h"
#include "engine/door.h"

enum { NEARBY_SEEN = 1000, NEARBY_NAMED = 5, OWNER_TRIES = 30, OWNER_EVERY_US = 100 * 1000, OWNER_TIMEOUT_MS = 15000, OWNER_PATIENCE_MS = 24 * 3600 * 1000 };

static bool folder_has_state(const char *folder) {
  mem_auto char *data = mem_format("%s/data.mdb", folder);
  return access(data, F_OK) == 0;
}

/* Runs keep their state with their output: those of the working folder are worth a hint. */
static void owner_nearby(struct buf *out) {
  DIR *here = opendir(".");
  struct dirent *entry;
  size_t found = 0;
  for (size_t seen = 0; here && seen < NEARBY_SEEN && (entry = readdir(here)); seen++) {
    mem_auto char *state = mem_format("%s/.stagemill", entry->d_name);
    if (!strcmp(entry->d_name, "..") || !folder_has_state(state)) continue;
    if (++found <= NEARBY_NAMED) buf_format(out, "%s%s", found > 1 ? ", " : "; here there are: -o ", entry->d_name);
  }
  if (found > NEARBY_NAMED) buf_format(out, " and %zu more", found - NEARBY_NAMED);
  if (here) closedir(here);
}

static char *owner_default(struct error *e) {
  struct paths paths;
  char *found = NULL;
  if (paths_find(&paths, e)) return NULL;
  if (paths.state_home && folder_has_state(paths.state_home)) found = mem_text(paths.state_home);
  if (!found && folder_has_state(paths.system_state)) found = mem_text(paths.system_state);
  if (!found) {
    buf_auto struct buf nearby = {0};
    owner_nearby(&nearby);
    error_set(e, ERR_USAGE,
              "no state folder in %s or %s: name one with --state DIR, or the output folder of a run with -o OUT%s",
              paths.state_home ? paths.state_home : "the home folder", paths.system_state, buf_string(&nearby));
  }
  paths_clear(&paths);
  return found;
}

char *owner_folder(const struct options *options, struct error *e) {
  const char *state = options_value(options, "state"), *output = options_value(options, "output");
  if (!state && !output) return owner_default(e);
  mem_auto char *absolute = fs_absolute(NULL, state ? state : output);
  char *folder = state ? mem_text(absolute) : mem_format("%s/.stagemill", absolute);
  if (folder_has_state(folder)) return folder;
  error_set(e, ERR_USAGE, "there is no state in %s: was a job ever run with it?", folder);
  free(folder);
  return NULL;
}

/* ---- asking the owner, or being it ------------------------------------------------------------------------------- */

/* Looking after the whole state takes as long as the state is large. */
static int ask_patience(const struct value *request) {
  static const char *const slow[] = {"backup", "check", "export", "prune"};
  for (size_t i = 0; i < sizeof slow / sizeof *slow; i++)
    if (!strcmp(value_get_text(request, "op", ""), slow[i])) return OWNER_PATIENCE_MS;
  return OWNER_TIMEOUT_MS;
}

static enum err ask_socket(int fd, const struct value *request, struct value **answer, struct error *e) {
  buf_auto struct buf rest = {0};
  if (door_send(fd, request, e)) return e->code;
  return door_receive(fd, &rest, ask_patience(request), answer, e);
}

struct asked {
  struct loop *loop;
  struct value *answer;
};

static void ask_answered(void *context, const struct value *answer) {
  struct asked *asked = context;
  asked->answer = value_copy(answer);
  loop_stop(asked->loop);
}

static enum err ask_as_owner(const char *folder, const struct value *request, struct value **answer, struct error *e) {
  struct asked asked = {0};
  struct engine *engine = NULL;
  if (loop_create(&asked.loop, &clock_system, e)) return e->code;
  struct engine_options options = {.state_folder = folder, .loop = asked.loop};
  enum err err = engine_create(&engine, &options, e);
  if (!err) {
    door_answer(engine, request, ask_answered, &asked);
    if (!asked.answer) loop_run(asked.loop);
    *answer = asked.answer;
  }
  engine_destroy(&engine);
  loop_destroy(&asked.loop);
  return err;
}

enum err owner_ask(const char *folder, const struct value *request, struct value **answer, struct error *e) {
  enum err err = ERR_OK;
  for (int tries = 0; tries < OWNER_TRIES; tries++) {
    fd_auto int fd = door_connect(folder);
    err = fd >= 0 ? ask_socket(fd, request, answer, e) : ask_as_owner(folder, request, answer, e);
    if (err != ERR_BUSY && err != ERR_LOST) return err;
    usleep(OWNER_EVERY_US); /* an owner is just starting or just ending */
  }
  return err;
}

static int refusal_code(const char *word) {
  return strcmp(word, err_word(ERR_USAGE)) == 0 || strcmp(word, err_word(ERR_NOT_FOUND)) == 0 ? CLI_USAGE : CLI_FAILED;
}

struct value *owner_request(const struct options *options, const struct value *request, int *code) {
  struct error e = {0};
  struct value *answer = NULL;
  log_open(STDERR_FILENO, LOG_LEVEL_ERROR, false);
  mem_auto char *folder = owner_folder(options, &e);
  if (!folder || owner_ask(folder, request, &answer, &e)) {
    *code = cli_error(&e);
    return NULL;
  }
  if (value_get_bool(answer, "ok", false)) return answer;
  *code = cli_complain(refusal_code(value_get_text(answer, "code", "")), "%s", value_get_text(answer, "message", "refused"));
  value_free(&answer);
  return NULL;
}
