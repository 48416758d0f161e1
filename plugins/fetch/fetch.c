/* fetch - brings a file from a path, file://, http://, https:// or s3:// into the job's folder. */
#include "fetch.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/url.h"

static const sm_param params[] = {
  SM_PARAM("url", SM_TAKES_TARGET | SM_TAKES_TEXT, SM_REQUIRED, NULL, NULL, 0, 0, NULL, NULL,
           "where the file is: a path, file://, http://, https:// or s3://bucket/key"),
  SM_TEXT("name", NULL, "what to call the file; else the server's name for it, or the end of the URL"),
  SM_SIZE("max-size", "50G", 1, 1e15, "refuse anything larger"),
  SM_DURATION("timeout", "60s", 1, 3600, "give up when the server sends nothing for so long"),
  SM_TEXT("sha256", NULL, "the file's SHA-256, 64 hex digits, checked at the end"),
  SM_PARAM("headers", SM_TAKES_TEXT | SM_TAKES_SECRET, SM_REPEATED, NULL, NULL, 0, 0, NULL, NULL,
           "further request headers, each as `Name: value`; never sent to another host"),
  SM_PARAM("schemes", SM_TAKES_KEYWORD, SM_REPEATED, NULL, "file|http|https|s3", 0, 0, NULL, NULL,
           "kinds of URL that are allowed, all unless given"),
  SM_CHOICE("networks", "any", "any|public",
            "public: refuse addresses that are not on the public internet, whatever name leads there"),
  SM_INT("redirects", "5", 0, 20, NULL, "how many redirects to follow"),
  SM_TEXT("endpoint", NULL, "S3: URL of the object storage; Amazon's unless given"),
  SM_TEXT("region", "us-east-1", "S3: region to sign for"),
  SM_SECRET("access-key", 0, "S3: access key, as ${{ secrets.NAME }}"),
  SM_SECRET("secret-key", 0, "S3: secret key, as ${{ secrets.NAME }}"),
  SM_SECRET("session-token", 0, "S3: session token of temporary keys, as ${{ secrets.NAME }}"),
  SM_FILE("ca", 0, "certificates (PEM) to trust instead of the system's"),
  SM_PARAMS_END};
static const sm_port inputs[] = {SM_PORTS_END};
static const sm_port outputs[] = {
  SM_PORT("file", SM_PORT_ARTIFACT, SM_PORT_SOURCE, "*/*", "the file; stands in for the job's input from here on"),
  SM_PORTS_END};
static const sm_result results[] = {
  SM_RESULT_TEXT("url", SM_AT_END, "where it came from, without credentials"),
  SM_RESULT_TEXT("name", SM_AT_END, "what it is called"),
  SM_RESULT_TEXT("media_type", SM_AT_END, "its media type"),
  SM_RESULT_INT("bytes", SM_AT_END, "bytes", "its size"),
  SM_RESULT_TEXT("sha256", SM_AT_END, "its SHA-256"),
  SM_RESULTS_END};

/* Never backwards, also when a changed file is fetched anew. */
void fetch_progress(struct fetch *f) {
  double fraction = f->total > 0 ? (double)f->partial.size / (double)f->total : NAN;
  if (fraction > f->highest) f->highest = fraction;
  sm_progress(f->task, f->total > 0 ? f->highest : NAN, NULL);
}

static bool scheme_allowed(sm_task *task, const char *scheme) {
  uint32_t count = sm_param_count(task, "schemes");
  for (uint32_t i = 0; i < count; i++) {
    char path[32];
    snprintf(path, sizeof path, "schemes.%u", i);
    const char *allowed = sm_param_text(task, path);
    if (allowed && strcmp(allowed, scheme) == 0) return true;
  }
  return count == 0;
}

/* The path a file:// URL means, malloc'ed; NULL after recording the failure. */
static char *path_of(struct fetch *f, const struct url *url) {
  if (url->host[0] && strcmp(url->host, "localhost") != 0) {
    sm_fail(f->task, SM_FAIL, NULL, "%s names host %s: file:// URLs are for this machine, write file:///path", f->shown,
            url->host);
    return NULL;
  }
  char *path = url_decode(url->path);
  if (!path) sm_fail(f->task, SM_FAIL, NULL, "%s: its path cannot be decoded, correct `url`", f->shown);
  return path;
}

static sm_status bring(struct fetch *f) {
  url_auto struct url url = {.port = -1};
  const char *why = "", *scheme = "file";
  bool plain = !url_has_scheme(f->url);
  if (!plain && !url_parse(f->url, &url, &why))
    return sm_fail(f->task, SM_FAIL, NULL, "%s %s: correct `url`", f->shown, why);
  if (!plain) scheme = url.scheme;
  if (strcmp(scheme, "file") && strcmp(scheme, "http") && strcmp(scheme, "https") && strcmp(scheme, "s3"))
    return sm_fail(f->task, SM_FAIL, NULL, "%s: scheme %s is not supported, use a path, file://, http://, https:// or s3://",
                   f->shown, scheme);
  if (!scheme_allowed(f->task, scheme))
    return sm_fail(f->task, SM_FAIL, NULL, "%s: %s is not among the allowed `schemes`", f->shown,
                   plain ? "a plain path (file)" : scheme);
  if (strcmp(scheme, "s3") == 0) return object_fetch(f, &url);
  if (strcmp(scheme, "file") != 0) return web_fetch(f);
  if (plain) return local_fetch(f, f->url);
  char *path = path_of(f, &url);
  if (!path) return SM_FAIL;
  sm_status status = local_fetch(f, path);
  free(path);
  return status;
}

/* A digest that does not match after a resume may be the resume's fault: once more from the beginning. */
static sm_status check_digest(struct fetch *f, const char *hex, bool resumed) {
  const char *wanted = sm_param_text(f->task, "sha256");
  if (!wanted || strcasecmp(wanted, hex) == 0) return SM_OK;
  partial_drop(&f->partial);
  if (resumed)
    return sm_fail(f->task, SM_RETRY, NULL, "%s changed while it was fetched: starting over", f->shown);
  return sm_fail(f->task, SM_FAIL, NULL, "%s has SHA-256 %s, not %s: correct `sha256` or `url`", f->shown, hex, wanted);
}

static sm_status publish(struct fetch *f, bool resumed) {
  char hex[SHA256_HEX_SIZE];
  if (!checksum_stream_hex(f->partial.hash, hex)) return sm_fail(f->task, SM_RETRY, NULL, "memory ran out: try again");
  sm_status status = check_digest(f, hex, resumed);
  if (status != SM_OK) return status;
  const char *path = sm_output_path(f->task, "file", f->name);
  int failed = path ? partial_finish(&f->partial, path) : errno;
  if (failed)
    return sm_fail(f->task, SM_RETRY, NULL, "cannot put %s into the job's folder: %s", f->name, strerror(failed));
  sm_result_text(f->task, "url", f->shown);
  sm_result_text(f->task, "name", f->name);
  sm_result_text(f->task, "media_type", f->media_type);
  sm_result_int(f->task, "bytes", f->partial.size);
  sm_result_text(f->task, "sha256", hex);
  sm_progress(f->task, 1, NULL);
  return sm_output(f->task, "file", f->name, f->media_type, NULL);
}

static sm_status check_settings(struct fetch *f) {
  const char *name = sm_param_text(f->task, "name"), *digest = sm_param_text(f->task, "sha256");
  if (!f->url || !f->url[0]) return sm_fail(f->task, SM_FAIL, NULL, "there is nothing to fetch: `url` is empty");
  if (name && !name_is_sane(name))
    return sm_fail(f->task, SM_FAIL, NULL, "`name` is to be a file name without folders, of at most %d bytes",
                   FETCH_NAME_MAX);
  if (digest && (strlen(digest) != 64 || strspn(digest, "0123456789abcdefABCDEF") != 64))
    return sm_fail(f->task, SM_FAIL, NULL, "`sha256` is to be 64 hex digits");
  if (name) snprintf(f->name, sizeof f->name, "%s", name);
  return SM_OK;
}

static sm_status fetch_run(sm_task *task) {
  struct fetch f = {.task = task, .url = sm_param_text(task, "url"), .total = -1, .partial = {.fd = -1}};
  sm_status status = check_settings(&f);
  if (status != SM_OK) return status;
  url_redact(f.url, f.shown, sizeof f.shown);
  f.partial.limit = sm_param_int(task, "max-size");
  sm_progress(task, NAN, "fetching");
  status = bring(&f);
  if (status == SM_OK) status = publish(&f, f.partial.kept);
  partial_close(&f.partial);
  free(f.at);
  return status;
}

static const sm_stage stages[] = {
  SM_TASK_STAGE_CAP("fetch", "brings a file from a path, URL or bucket into the job", "network", params, inputs, outputs,
                    results, fetch_run),
  SM_STAGES_END};
SM_PLUGIN("org.stagemill.fetch", "0.1.0", "MIT", stages);
