/* api_artifacts.c - the files a job has made: list, bytes, and links that work without a token until they expire. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/artifacts.h"
#include "api/parts.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"

enum { PATH_BYTES = 4000, DEPTH_MAX = 32 };
static const int64_t SECOND_US = 1000000, DAY_S = 24 * 3600;

/* ---- list and bytes ------------------------------------------------------------------------------------------------------- */

/* A path as it stands in a URL: everything but unreserved characters and slashes is escaped. */
static void path_escaped(struct buf *out, const char *path) {
  for (; *path; path++) {
    unsigned char c = (unsigned char)*path;
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~/", c);
    if (plain)
      buf_char(out, (char)c);
    else
      buf_format(out, "%%%02X", c);
  }
}

static void set_href(struct value *artifact, const char *job) {
  buf_auto struct buf href = {0};
  buf_format(&href, "/api/v1/jobs/%s/artifacts/", job);
  path_escaped(&href, value_get_text(artifact, "path", ""));
  value_set_text(artifact, "href", buf_string(&href));
}

static void artifacts_get(struct exchange *x) {
  struct job_record job = {0};
  struct error e = {0};
  if (!api_job_seen(x, &job)) return;
  value_auto struct value *v = value_map();
  struct value *list = value_list();
  value_map_set(v, "artifacts", list);
  enum err err = artifacts_list(api_service(x), &job, list, &e);
  for (size_t i = 0; i < list->count; i++) set_href(list->items[i], job.id);
  if (err)
    http_error(x, &e);
  else
    http_json(x, 200, v);
  job_record_clear(&job);
}

/* Whatever is in the file, it is never a page of ours: no script, no frame, no guessing at types. */
static void send_file(struct exchange *x, const struct job_record *job, const char *path) {
  struct artifact_file file;
  struct error e = {0};
  if (artifacts_open(api_service(x), job, path, &file, &e)) {
    http_error(x, &e);
    return;
  }
  http_set_header(x, "X-Content-Type-Options", "nosniff");
  http_set_header(x, "Content-Security-Policy", "default-src 'none'; sandbox");
  http_set_header(x, "Cache-Control", "private, no-cache");
  http_file(x, file.fd, file.type, *file.sha256 ? file.sha256 : NULL, file.attachment ? fs_base_name(path) : NULL);
}

static void artifact_get(struct exchange *x) {
  struct job_record job = {0};
  if (!api_job_seen(x, &job)) return;
  send_file(x, &job, http_param(x, "path"));
  job_record_clear(&job);
}

/* ---- links ------------------------------------------------------------------------------------------------------------------- */

/* What is signed: the method, the job and the path, or the folder, that the link opens. */
static char *link_path(const char *job, const char *path) { return mem_format("/api/v1/jobs/%s/shared/%s", job, path); }

/* A link to a playlist opens its folder: what it refers to is fetched beside it. */
static char *link_opens(const char *path) {
  const char *dot = strrchr(fs_base_name(path), '.'), *slash = strrchr(path, '/');
  bool playlist = dot && (strcmp(dot, ".m3u8") == 0 || strcmp(dot, ".mpd") == 0);
  return playlist && slash ? mem_text_n(path, (size_t)(slash - path) + 1) : mem_text(path);
}

static void link_answer(struct exchange *x, const char *job, const char *path, int64_t expires_s) {
  mem_auto char *opens = link_opens(path), *covered = link_path(job, opens);
  char signature[65];
  buf_auto struct buf url = {0};
  link_sign(api_service(x)->keyring, "GET", covered, expires_s, signature);
  buf_format(&url, "%s/api/v1/jobs/%s/shared/%" PRId64 "/%s/", http_origin(x), job, expires_s, signature);
  path_escaped(&url, path);
  value_auto struct value *v = value_map();
  value_set_text(v, "url", buf_string(&url));
  api_set_time(v, "expiresAt", expires_s * SECOND_US);
  value_set_text(v, "opens", opens);
  http_json(x, 201, v);
}

static void link_make(struct exchange *x) {
  static const char *const valid[] = {"path", "ttl", NULL};
  struct job_record job = {0};
  const struct value *body = api_body(x);
  const char *path;
  int64_t ttl_us;
  if (!body || !api_keys(x, body, valid) || !api_text(x, body, "path", PATH_BYTES, &path)) return;
  if (!api_duration(x, body, "ttl", SECOND_US, 30 * DAY_S * SECOND_US, 3600 * SECOND_US, &ttl_us)) return;
  if (!api_job_seen(x, &job)) return;
  if (path && !artifacts_has(api_service(x), &job, path))
    http_problem(x, 404, "not-found", "job %s has no artifact %.200s", job.id, path);
  else
    link_answer(x, job.id, path ? path : "", (clock_wall(&clock_system) + ttl_us) / SECOND_US);
  job_record_clear(&job);
}

/* The path itself, then every folder above it: a link may be to any of them. */
static bool link_is_good(struct exchange *x, const char *job, const char *path, int64_t expires_s, const char *signature) {
  mem_auto char *opens = mem_text(path);
  for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
    mem_auto char *covered = link_path(job, opens);
    if (!link_verify(api_service(x)->keyring, "GET", covered, expires_s, signature, NULL)) return true;
    size_t size = strlen(opens);
    if (!size) return false;
    if (opens[size - 1] == '/') opens[--size] = '\0';
    char *slash = strrchr(opens, '/');
    *(slash ? slash + 1 : opens) = '\0';
  }
  return false;
}

static void link_get(struct exchange *x) {
  const char *id = http_param(x, "id"), *expires = http_param(x, "expires"), *path = http_param(x, "path");
  const char *signature = http_param(x, "signature");
  struct job_record job = {0};
  char *end;
  errno = 0;
  int64_t expires_s = strtoll(expires, &end, 10);
  bool good = *expires && !*end && !errno && strlen(path) <= PATH_BYTES && strlen(id) < STORE_ID_MAX &&
              link_is_good(x, id, path, expires_s, signature);
  if (!good) {
    http_problem(x, 403, "denied", "this link is not valid, or not any more: ask for a new one");
    return;
  }
  if (store_job(api_service(x)->store, id, &job, NULL))
    api_not_found(x, "job", id);
  else
    send_file(x, &job, path);
  job_record_clear(&job);
}

static const struct route routes[] = {
    {"GET", "/api/v1/jobs/{id}/artifacts", SCOPE_READ | SCOPE_FOLLOW, 0, artifacts_get, "listArtifacts"},
    {"GET", "/api/v1/jobs/{id}/artifacts/{path...}", SCOPE_READ | SCOPE_FOLLOW, ROUTE_TICKET, artifact_get, "getArtifact"},
    {"POST", "/api/v1/jobs/{id}/links", SCOPE_READ, 0, link_make, "linkArtifacts"},
    {"GET", "/api/v1/jobs/{id}/shared/{expires}/{signature}/{path...}", 0, ROUTE_OPEN, link_get, "getShared"},
};
const struct api_table api_artifacts = API_TABLE(routes);
