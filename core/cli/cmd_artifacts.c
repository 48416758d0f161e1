/* cmd_artifacts.c - `stagemill artifacts`: what a daemon's job made, listed or fetched. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/print.h"
#include "cli/remote.h"

/* The path of an artifact in a URL: its slashes stay. */
static char *artifact_address(const char *job, const char *path) {
  buf_auto struct buf out = {0};
  buf_format(&out, "/api/v1/jobs/%s/artifacts", job);
  while (*path) {
    size_t n = strcspn(path, "/");
    mem_auto char *part = mem_text_n(path, n), *encoded = remote_encode(part);
    buf_format(&out, "/%s", encoded);
    path += n + (path[n] == '/');
  }
  return buf_take(&out);
}

/* A server's word is no reason to write outside of the folder. */
static bool path_is_tame(const char *path) {
  if (!*path || *path == '/') return false;
  for (const char *at = path; *at; at += strcspn(at, "/"), at += *at == '/')
    if (!strncmp(at, "..", 2) && (!at[2] || at[2] == '/')) return false;
  return true;
}

static enum err artifact_checked(const char *path, const struct value *artifact, struct error *e) {
  const char *promised = value_get_text(artifact, "sha256", NULL);
  char digest[65];
  int64_t size;
  fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (!promised) return ERR_OK;
  if (fd < 0 || digest_of_fd(fd, digest, &size, e)) return e->code;
  if (!strcmp(digest, promised)) return ERR_OK;
  return error_set(e, ERR_CORRUPT, "%s arrived with another digest than the daemon told: fetch it again", path);
}

static enum err artifact_get(struct remote *remote, const char *job, const struct value *artifact, const char *folder,
                             struct error *e) {
  const char *path = value_get_text(artifact, "path", "");
  if (!path_is_tame(path)) return error_set(e, ERR_PROTOCOL, "the daemon names an artifact '%s': refused", path);
  mem_auto char *address = artifact_address(job, path), *target = mem_format("%s/%s", folder, path),
                *part = mem_format("%s.part", target), *parent = mem_text(target);
  *strrchr(parent, '/') = '\0';
  if (fs_make_folders(parent, 0755, e)) return e->code;
  {
    fd_auto int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return error_errno(e, errno, "cannot write %s", part);
    if (remote_copy(remote, address, fd, path, e)) return e->code;
  }
  if (artifact_checked(part, artifact, e)) return e->code;
  if (rename(part, target)) return error_errno(e, errno, "cannot write %s", target);
  return ERR_OK;
}

static bool is_wanted(const struct options *options, const struct value *artifact) {
  const char *path = value_get_text(artifact, "path", "");
  if (options_count(options) < 3) return true;
  for (size_t i = 2; i < options_count(options); i++) {
    const char *word = options_operand(options, i);
    size_t n = strlen(word);
    if (!strncmp(path, word, n) && (!path[n] || path[n] == '/' || (n && word[n - 1] == '/'))) return true;
  }
  return false;
}

static int artifacts_get(struct remote *remote, const struct options *options, const char *job, const struct value *list) {
  const char *folder = options_value(options, "output");
  mem_auto char *otherwise = mem_format("%s.out", job);
  struct error e = {0};
  size_t got = 0;
  for (size_t i = 0; list && i < list->count; i++) {
    if (!is_wanted(options, list->items[i])) continue;
    if (artifact_get(remote, job, list->items[i], folder ? folder : otherwise, &e)) return cli_error(&e);
    printf("%s/%s\n", folder ? folder : otherwise, value_get_text(list->items[i], "path", ""));
    got++;
  }
  return got ? CLI_DONE : cli_complain(CLI_FAILED, "job %s has no such artifact: `stagemill artifacts list %s` names them", job, job);
}

static int artifacts_list(const struct options *options, const struct value *list) {
  if (options_flag(options, "json")) return print_json(list, CLI_DONE);
  buf_auto struct buf out = {0};
  for (size_t i = 0; list && i < list->count; i++)
    buf_format(&out, "%12lld  %-30s %s\n", (long long)value_get_int(list->items[i], "bytes", 0),
               value_get_text(list->items[i], "mediaType", ""), value_get_text(list->items[i], "path", ""));
  if (!out.size) buf_text(&out, "no artifacts\n");
  return cli_print(&out, CLI_DONE);
}

static int artifacts_run(const struct options *options) {
  int code = CLI_DONE;
  struct error e = {0};
  const char *verb = options_operand(options, 0);
  bool get = !strcmp(verb, "get");
  if (!get && strcmp(verb, "list")) return cli_complain(CLI_USAGE, "artifacts %s: use list or get", verb);
  struct remote *remote = remote_open(options, &code);
  if (!remote) return code;
  value_auto struct value *answer = NULL;
  mem_auto char *id = remote_job(remote, options_count(options) > 1 ? options_operand(options, 1) : "last", &e);
  mem_auto char *path = mem_format("/api/v1/jobs/%s/artifacts", id ? id : "");
  if (!id)
    code = cli_error(&e);
  else if ((answer = remote_ask(remote, "GET", path, NULL, &code)))
    code = get ? artifacts_get(remote, options, id, value_get(answer, "artifacts"))
               : artifacts_list(options, value_get(answer, "artifacts"));
  remote_close(&remote);
  return code;
}

static const enum word_kind artifacts_words[] = {WORD_TEXT, WORD_JOB, WORD_TEXT, 0};
static const struct option_row artifacts_options[] = {
    REMOTE_OPTIONS,
    OPTION_VALUE("output", 'o', "DIR", WORD_FOLDER, "get: where to (default ./ID.out)"),
    OPTION_FLAG("json", 0, "list: print JSON for programs"),
    OPTIONS_END,
};

const struct command command_artifacts = {
    .name = "artifacts",
    .summary = "list or fetch what a daemon's job made",
    .operands = "list|get [ID] [PATH]...",
    .operands_min = 1,
    .operands_max = SIZE_MAX,
    .words = artifacts_words,
    .options = artifacts_options,
    .details = "`artifacts get ID` fetches all of them, `artifacts get ID stream poster` what lies in these folders. Every file is\n"
               "checked against the digest that the daemon tells.\n",
    .run = artifacts_run,
};
