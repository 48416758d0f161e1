#include "cli/remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/remote_parts.h"

enum { TOKEN_BYTES_MAX = 16 * 1024, ANSWER_BYTES_MAX = 16 << 20, CALL_TIMEOUT_MS = 120 * 1000, LIST_MAX = 1000 };

/* ---- where it is -------------------------------------------------------------------------------------------------- */

static const char *setting(const struct options *options, const char *name, const char *variable) {
  const char *given = options_value(options, name), *inherited = getenv(variable);
  return given ? given : inherited && *inherited ? inherited : NULL;
}

bool remote_named(const struct options *options) {
  if (options_value(options, "server")) return true;
  const char *inherited = getenv("STAGEMILL_SERVER");
  return inherited && *inherited && !options_value(options, "state") && !options_value(options, "output");
}

static char *token_of_file(const char *path, struct error *e) {
  buf_auto struct buf text = {0};
  if (fs_read_file(path, TOKEN_BYTES_MAX, &text, e)) return NULL;
  char *token = buf_take(&text);
  token[strcspn(token, " \t\r\n")] = '\0';
  if (*token) return token;
  error_set(e, ERR_USAGE, "the token file %s is empty: `stagemill token --sub NAME >%s` writes one", path, path);
  free(token);
  return NULL;
}

/* A token in the file that --token-file names goes before one that is merely inherited. */
static enum err remote_token(const struct options *options, char **token, struct error *e) {
  const char *given = options_value(options, "token"), *file = options_value(options, "token-file");
  if (given && file) return error_set(e, ERR_USAGE, "--token and --token-file are both given: keep one");
  if (!given && !file) given = setting(options, "token", "STAGEMILL_TOKEN");
  if (!given && !file) file = setting(options, "token-file", "STAGEMILL_TOKEN_FILE");
  *token = NULL;
  if (given) *token = mem_text(given);
  if (given && strpbrk(given, "\r\n"))
    return error_set(e, ERR_USAGE, "the token holds a line break: it must be one line");
  if (!given && file && !(*token = token_of_file(file, e))) return e->code;
  return ERR_OK;
}

static enum err remote_address(const char *server, char **base, struct error *e) {
  const char *why = NULL;
  url_auto struct url url = {0};
  if (!server)
    return error_set(e, ERR_USAGE, "which daemon? Name it with --server http://HOST:PORT, or in STAGEMILL_SERVER");
  if (!url_parse(server, &url, &why)) return error_set(e, ERR_USAGE, "--server %s %s", server, why);
  if (strcmp(url.scheme, "http") && strcmp(url.scheme, "https"))
    return error_set(e, ERR_USAGE, "--server %s: use http:// or https://", server);
  if (url.query || url.fragment) return error_set(e, ERR_USAGE, "--server %s: leave out what is behind the path", server);
  *base = mem_text(server);
  for (size_t n = strlen(*base); n && (*base)[n - 1] == '/'; n--) (*base)[n - 1] = '\0';
  return ERR_OK;
}

struct remote *remote_open(const struct options *options, int *code) {
  struct error e = {0};
  struct remote *remote = mem_alloc(sizeof *remote);
  struct http_settings settings = {.connect_timeout_ms = 10 * 1000};
  if (!remote_address(setting(options, "server", "STAGEMILL_SERVER"), &remote->base, &e) &&
      !remote_token(options, &remote->token, &e)) {
    remote->client = http_open(&settings);
    if (remote->token) remote->authorization = mem_format("Authorization: Bearer %s", remote->token);
    return remote;
  }
  *code = cli_error(&e);
  remote_close(&remote);
  return NULL;
}

void remote_close(struct remote **at) {
  struct remote *remote = *at;
  if (!remote) return;
  http_close(&remote->client);
  free(remote->base);
  free(remote->token);
  free(remote->authorization);
  free(remote);
  *at = NULL;
}

/* ---- errors ------------------------------------------------------------------------------------------------------- */

static enum err code_of_status(long status) {
  static const struct { long status; enum err code; } table[] = {
      {400, ERR_USAGE}, {401, ERR_USAGE}, {403, ERR_USAGE}, {404, ERR_NOT_FOUND}, {409, ERR_CONFLICT}, {413, ERR_TOO_LARGE},
      {415, ERR_USAGE}, {422, ERR_USAGE}, {429, ERR_BUSY}, {503, ERR_BUSY},      {504, ERR_TIMEOUT},  {507, ERR_NO_SPACE}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (table[i].status == status) return table[i].code;
  return ERR_IO;
}

enum err remote_problem(struct remote *remote, const struct http_exchange *x, struct error *e) {
  if (x->end != HTTP_ANSWERED)
    return error_set(e, x->end == HTTP_STALLED ? ERR_TIMEOUT : ERR_LOST,
                     "the daemon at %s cannot be asked: %s (is it running? `stagemill serve` starts one)", remote->base,
                     x->problem);
  value_auto struct value *problem = NULL;
  value_from_json(text_string(&x->kept), x->kept.size, &problem, NULL);
  const char *detail = value_get_text(problem, "detail", value_get_text(problem, "title", http_answer_words(x->status)));
  if (x->status == 401 && !remote->token)
    return error_set(e, ERR_USAGE, "the daemon at %s wants a token: --token T, --token-file F, or `stagemill token` on its "
                     "host makes one", remote->base);
  return error_set(e, code_of_status(x->status), "%s", detail);
}

/* ---- one request -------------------------------------------------------------------------------------------------- */

size_t remote_headers(const struct remote *remote, const char **headers, const char *more, const char *accept) {
  size_t count = 0;
  if (remote->authorization) headers[count++] = remote->authorization;
  if (more) headers[count++] = more;
  headers[count++] = accept;
  return count;
}

static enum err call_answer(const struct http_exchange *x, struct value **answer, struct error *e) {
  if (!answer) return ERR_OK;
  *answer = NULL;
  if (!x->kept.size) {
    *answer = value_null();
    return ERR_OK;
  }
  if (!value_from_json(text_string(&x->kept), x->kept.size, answer, e)) return ERR_OK;
  return error_set(e, ERR_PROTOCOL, "what answers at --server is no stagemill daemon: its answer is no JSON");
}

enum err remote_call_with(struct remote *remote, const char *method, const char *path, const char *header,
                          const struct value *body, struct value **answer, struct error *e) {
  const char *headers[5];
  buf_auto struct buf json = {0};
  mem_auto char *url = mem_format("%s%s", remote->base, path);
  struct http_exchange x = {.method = method, .url = url, .headers = headers, .keep_limit = ANSWER_BYTES_MAX,
                            .total_timeout_ms = CALL_TIMEOUT_MS};
  x.header_count = remote_headers(remote, headers, header, "Accept: application/json");
  if (body) {
    value_json(&json, body, VALUE_JSON_COMPACT | VALUE_JSON_REVEAL);
    headers[x.header_count++] = "Content-Type: application/json";
  }
  x.body = buf_string(&json);
  x.body_size = (int64_t)json.size;
  x.head = remote_keep;
  http_run(remote->client, &x);
  enum err err = x.end == HTTP_ANSWERED && x.status / 100 == 2 ? call_answer(&x, answer, e) : remote_problem(remote, &x, e);
  http_reset(&x);
  return err;
}

enum http_take remote_keep(struct http_exchange *x) {
  (void)x;
  return HTTP_TAKE_KEEP;
}

enum err remote_call(struct remote *remote, const char *method, const char *path, const struct value *body,
                     struct value **answer, struct error *e) {
  return remote_call_with(remote, method, path, NULL, body, answer, e);
}

struct value *remote_ask(struct remote *remote, const char *method, const char *path, const struct value *body, int *code) {
  struct error e = {0};
  struct value *answer = NULL;
  if (!remote_call(remote, method, path, body, &answer, &e)) return answer;
  *code = cli_error(&e);
  return NULL;
}

char *remote_encode(const char *text) {
  text_auto struct text out = {0};
  url_encode(&out, text, strlen(text), URL_KEEP_UNRESERVED);
  return mem_text(text_string(&out));
}

/* ---- ids ---------------------------------------------------------------------------------------------------------- */

static char *job_matching(const struct value *jobs, const char *word, struct error *e) {
  const char *found = NULL;
  for (size_t i = 0; jobs && i < jobs->count; i++) {
    const char *id = value_get_text(jobs->items[i], "id", "");
    if (strncmp(id, word, strlen(word))) continue;
    if (found) {
      error_set(e, ERR_CONFLICT, "'%s' may mean %s or %s: write more of the id", word, found, id);
      return NULL;
    }
    found = id;
  }
  if (found) return mem_text(found);
  error_set(e, ERR_NOT_FOUND, "no job '%s' among the newest %d: `stagemill jobs` lists them", word, LIST_MAX);
  return NULL;
}

char *remote_job(struct remote *remote, const char *word, struct error *e) {
  bool last = !strcmp(word, "last");
  if (!last && strlen(word) == 26) return mem_text(word);
  value_auto struct value *answer = NULL;
  mem_auto char *path = mem_format("/api/v1/jobs?limit=%d", last ? 1 : LIST_MAX);
  if (remote_call(remote, "GET", path, NULL, &answer, e)) return NULL;
  return job_matching(value_get(answer, "jobs"), last ? "" : word, e);
}
