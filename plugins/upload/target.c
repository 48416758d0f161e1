#include <stdlib.h>
#include <string.h>

#include "common/url.h"
#include "upload.h"

/* "a//b/../c/" as keys should have it: single slashes, "a/b/../c/". Dots are refused: no key needs them. */
static bool take_prefix(struct target *target, const char *path) {
  text_auto struct text out = {0};
  while (*path) {
    size_t size = strcspn(path, "/");
    if ((size == 1 && path[0] == '.') || (size == 2 && memcmp(path, "..", 2) == 0)) return false;
    if (size) {
      text_add(&out, path, size);
      text_char(&out, '/');
    }
    path += size + (path[size] == '/');
  }
  target->prefix = text_take(&out);
  return target->prefix != NULL;
}

static sm_status take_bucket(struct upload *u, const char *to) {
  const char *rest = to + strlen("s3://");
  size_t bucket = strcspn(rest, "/");
  u->target.is_bucket = true;
  if (!bucket || memchr(rest, '@', bucket))
    return sm_fail(u->task, SM_FAIL, NULL, "`to` names no bucket: write s3://bucket/prefix");
  u->target.bucket = strndup(rest, bucket);
  if (!take_prefix(&u->target, rest + bucket))
    return sm_fail(u->task, SM_FAIL, NULL, "`to` has \".\" or \"..\" in its prefix: write it without");
  return u->target.bucket ? SM_OK : sm_fail(u->task, SM_RETRY, NULL, "memory ran out: try again");
}

static sm_status take_folder(struct upload *u, const char *path) {
  size_t size = strlen(path);
  if (path[0] != '/')
    return sm_fail(u->task, SM_FAIL, NULL, "`to` is neither an absolute folder nor a URL of scheme s3 or file: %s", path);
  while (size > 1 && path[size - 1] == '/') size--;
  u->target.folder = strndup(path, size);
  return u->target.folder ? SM_OK : sm_fail(u->task, SM_RETRY, NULL, "memory ran out: try again");
}

static sm_status take_file_url(struct upload *u, const char *to) {
  url_auto struct url url = {.port = -1};
  const char *why = "";
  if (!url_parse(to, &url, &why)) return sm_fail(u->task, SM_FAIL, NULL, "`to` %s: correct it", why);
  if (url.host && url.host[0] && strcmp(url.host, "localhost") != 0)
    return sm_fail(u->task, SM_FAIL, NULL, "`to` names host %s: file:// URLs are for this machine, write file:///folder",
                   url.host);
  char *path = url_decode(url.path);
  if (!path) return sm_fail(u->task, SM_FAIL, NULL, "`to` has a path that cannot be decoded: correct it");
  u->target.written_as_url = true;
  sm_status status = take_folder(u, path);
  free(path);
  return status;
}

sm_status target_parse(struct upload *u, const char *to) {
  char shown[200];
  if (!to || !to[0]) return sm_fail(u->task, SM_FAIL, NULL, "there is nowhere to upload to: `to` is empty");
  if (strncasecmp(to, "s3://", 5) == 0) return take_bucket(u, to);
  if (strncasecmp(to, "file://", 7) == 0) return take_file_url(u, to);
  if (url_has_scheme(to))
    return sm_fail(u->task, SM_FAIL, NULL, "`to` %s has a scheme that cannot be written to: use a folder, or "
                   "s3://bucket/prefix with `endpoint`", url_redact(to, shown, sizeof shown));
  return take_folder(u, to);
}

void target_free(struct target *target) {
  free(target->folder);
  free(target->bucket);
  free(target->prefix);
}

bool target_text(const struct target *target, struct text *out) {
  if (target->is_bucket) {
    text_format(out, "s3://%s/%s", target->bucket, target->prefix);
  } else if (target->written_as_url) {
    text_put(out, "file://");
    url_encode(out, target->folder, strlen(target->folder), URL_KEEP_SLASHES);
  } else {
    text_put(out, target->folder);
  }
  if (out->size && out->data[out->size - 1] != '/') text_char(out, '/');
  return !out->failed;
}
