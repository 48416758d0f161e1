/* object.c - s3://bucket/key: an address signed for some hours, then fetched like any other. */
#include <stdlib.h>
#include <string.h>

#include "common/s3.h"
#include "common/url.h"
#include "fetch.h"

enum { SIGNED_FOR_S = 12 * 3600 };

static sm_status object_sign(struct fetch *f, struct s3_store *store, const char *key) {
  text_auto struct text url = {0};
  if (!s3_presigned(store, "GET", key, SIGNED_FOR_S, &url))
    return sm_fail(f->task, SM_RETRY, NULL, "memory ran out: try again");
  f->at = text_take(&url);
  return f->at ? SM_OK : sm_fail(f->task, SM_RETRY, NULL, "memory ran out: try again");
}

static sm_status object_address(struct fetch *f, const char *bucket, const char *key) {
  struct http_settings http = {.connect_timeout_ms = 1000};
  struct s3_settings settings = {.endpoint = sm_param_text(f->task, "endpoint"), .region = sm_param_text(f->task, "region"),
                                 .bucket = bucket, .access_key = sm_param_text(f->task, "access-key"),
                                 .secret_key = sm_param_text(f->task, "secret-key"),
                                 .session_token = sm_param_text(f->task, "session-token")};
  const char *why = "memory ran out";
  if (!settings.access_key || !settings.secret_key)
    return sm_fail(f->task, SM_FAIL, NULL, "%s: `access-key` and `secret-key` are needed, as ${{ secrets.NAME }}; are the "
                   "secrets set?", f->shown);
  struct http_client *client = http_open(&http);
  struct s3_store *store = client ? s3_open(client, &settings, &why) : NULL;
  sm_status status = store ? object_sign(f, store, key) : sm_fail(f->task, SM_FAIL, NULL, "`endpoint` %s", why);
  s3_close(&store);
  http_close(&client);
  return status;
}

sm_status object_fetch(struct fetch *f, const struct url *url) {
  char *key = url_decode(url->path[0] == '/' ? url->path + 1 : url->path);
  sm_status status = SM_OK;
  if (!key || !key[0])
    status = sm_fail(f->task, SM_FAIL, NULL, "%s names no object: write s3://bucket/key", f->shown);
  else
    status = object_address(f, url->host, key);
  free(key);
  return status == SM_OK ? web_fetch(f) : status;
}
