/* drive.c - the files of a Google Drive folder, through the public v3 API (developers.google.com/drive/api/reference/rest/v3)
 * with the caller's own token. Never run against Google itself: tests talk to a stand-in that follows the public description. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/http.h"
#include "common/url.h"
#include "list.h"

enum { TRIES = 6, ANSWER_MAX = 8 << 20, SHORTCUTS_MAX = 1000 };
#define FIELDS "id,name,mimeType,size,md5Checksum,version,shortcutDetails(targetId,targetMimeType)"
#define FOLDER_TYPE "application/vnd.google-apps.folder"
#define SHORTCUT_TYPE "application/vnd.google-apps.shortcut"
#define OWN_TYPES "application/vnd.google-apps."

struct drive {
  struct listing list;
  struct http_client *client;
  const char *base, *token;
  int shortcuts;
};

static bool stop_wanted(void *task) { return sm_cancelled(task); }

/* ---- asking ---------------------------------------------------------------------------------------------------------- */

/* "rateLimitExceeded", "notFound", ...: the first error's reason. */
static const char *reason_of(json_t *answer) {
  json_t *errors = json_object_get(json_object_get(answer, "error"), "errors");
  const char *reason = json_string_value(json_object_get(json_array_get(errors, 0), "reason"));
  return reason ? reason : "";
}

static bool is_rate_limit(const struct http_exchange *x, json_t *answer) {
  return x->status == 403 && (strstr(reason_of(answer), "ateLimitExceeded") || !strcmp(reason_of(answer), "sharingRateLimitExceeded"));
}

static sm_status refused(struct drive *d, const struct http_exchange *x, json_t *answer, const char *what) {
  sm_task *task = d->list.task;
  if (x->end != HTTP_ANSWERED) {
    sm_status verdict = x->end == HTTP_FORBIDDEN || x->end == HTTP_IMPOSSIBLE || x->end == HTTP_UNTRUSTED ? SM_FAIL : SM_RETRY;
    return x->end == HTTP_CANCELLED ? SM_CANCELLED : sm_fail(task, verdict, NULL, "%s: %s", what, x->problem);
  }
  if (x->status == 401)
    return sm_fail(task, SM_FAIL, NULL, "%s: the token has expired or was never valid: submit the batch again with a new one", what);
  if (x->status == 404)
    return sm_fail(task, SM_FAIL, NULL, "%s: there is no such folder or file, or this token may not see it", what);
  if (is_rate_limit(x, answer) || http_is_transient(x))
    return sm_fail(task, SM_RETRY, NULL, "%s: the service wants fewer requests (%ld %s)", what, x->status, reason_of(answer));
  return sm_fail(task, SM_FAIL, NULL, "%s: the service answered %ld %s", what, x->status, reason_of(answer));
}

/* Exponential back-off as the service's documentation asks for, then the stage's own retry has its turn. */
static bool worth_waiting(struct drive *d, const struct http_exchange *x, json_t *answer, int tries) {
  if (tries + 1 == TRIES || sm_cancelled(d->list.task)) return false;
  if (!is_rate_limit(x, answer) && !http_is_transient(x)) return false;
  long ms = 250L << tries, asked = http_retry_after_s(x) * 1000;
  if (asked > ms) ms = asked < 10000 ? asked : 10000;
  struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&pause, NULL);
  return true;
}

static enum http_take keep(struct http_exchange *x) {
  (void)x;
  return HTTP_TAKE_KEEP;
}

static sm_status ask(struct drive *d, const char *url, const char *what, json_t **answer) {
  text_auto struct text header = {0};
  text_format(&header, "Authorization: Bearer %s", d->token);
  const char *headers[] = {text_string(&header), "Accept: application/json"};
  sm_status status = SM_OK;
  *answer = NULL;
  for (int tries = 0; tries < TRIES; tries++) {
    struct http_exchange x = {.method = "GET", .url = url, .headers = headers, .header_count = 2, .head = keep,
                              .keep_limit = ANSWER_MAX, .total_timeout_ms = 60 * 1000};
    http_run(d->client, &x);
    *answer = x.end == HTTP_ANSWERED ? json_loadb(text_string(&x.kept), x.kept.size, 0, NULL) : NULL;
    bool good = x.end == HTTP_ANSWERED && x.status == 200 && json_is_object(*answer);
    bool again = !good && worth_waiting(d, &x, *answer, tries);
    if (!good && !again)
      status = x.status == 200 ? sm_fail(d->list.task, SM_RETRY, NULL, "%s: the answer is no JSON", what) : refused(d, &x, *answer, what);
    http_reset(&x);
    if (good) return SM_OK;
    json_decref(*answer);
    *answer = NULL;
    if (!again) break;
  }
  return status;
}

/* ---- files ----------------------------------------------------------------------------------------------------------- */

static const char *text_of(json_t *file, const char *key) {
  const char *text = json_string_value(json_object_get(file, key));
  return text ? text : "";
}

/* Sizes and versions are int64 as strings. */
static int64_t number_of(json_t *file, const char *key) {
  const char *text = text_of(file, key);
  return *text ? atoll(text) : -1;
}

static sm_status add_file(struct drive *d, json_t *file, const char *name) {
  text_auto struct text input = {0}, source = {0};
  const char *type = text_of(file, "mimeType"), *id = text_of(file, "id");
  const char *mark = *text_of(file, "md5Checksum") ? text_of(file, "md5Checksum") : text_of(file, "version");
  struct listed listed = {.name = name, .bytes = number_of(file, "size")};
  if (!strcmp(type, FOLDER_TYPE)) listed.problem = "folder", listed.message = "it is a folder: submit it as a batch of its own";
  else if (!strncmp(type, OWN_TYPES, strlen(OWN_TYPES)) || listed.bytes < 0)
    listed.problem = "no-content", listed.message = "it has no content of its own that could be fetched";
  else if (listed.bytes == 0) listed.problem = "empty", listed.message = "it has no bytes";
  text_format(&input, "%s/files/", d->base);
  url_encode(&input, id, strlen(id), URL_KEEP_UNRESERVED);
  text_put(&input, "?alt=media&supportsAllDrives=true");
  text_format(&source, "drive:%s@%s", id, mark);
  listed.input = text_string(&input);
  if (*mark) listed.source = text_string(&source);
  return listing_add(&d->list, &listed);
}

/* A shortcut stands for its target, under the shortcut's own name; one that leads nowhere is that file's problem alone. */
static sm_status add_shortcut(struct drive *d, json_t *shortcut) {
  text_auto struct text url = {0};
  json_t *details = json_object_get(shortcut, "shortcutDetails"), *target = NULL;
  const char *id = text_of(details, "targetId"), *name = text_of(shortcut, "name");
  struct listed broken = {.name = name, .bytes = -1, .problem = "unreadable", .message = "the shortcut's target cannot be seen"};
  if (!*id || ++d->shortcuts > SHORTCUTS_MAX) return listing_add(&d->list, &broken);
  text_format(&url, "%s/files/", d->base);
  url_encode(&url, id, strlen(id), URL_KEEP_UNRESERVED);
  text_put(&url, "?supportsAllDrives=true&fields=" FIELDS);
  sm_status status = ask(d, text_string(&url), "the target of a shortcut", &target);
  if (status == SM_FAIL) return listing_add(&d->list, &broken);
  if (status == SM_OK && !strcmp(text_of(target, "mimeType"), SHORTCUT_TYPE)) status = listing_add(&d->list, &broken);
  else if (status == SM_OK) status = add_file(d, target, name);
  json_decref(target);
  return status;
}

static sm_status add_page(struct drive *d, json_t *page) {
  json_t *files = json_object_get(page, "files"), *file;
  size_t i;
  sm_status status = SM_OK;
  json_array_foreach(files, i, file) {
    bool shortcut = !strcmp(text_of(file, "mimeType"), SHORTCUT_TYPE);
    status = shortcut ? add_shortcut(d, file) : add_file(d, file, text_of(file, "name"));
    if (status != SM_OK) break;
  }
  return status;
}

static void page_url(const struct drive *d, const char *folder, const char *page, struct text *url) {
  text_auto struct text query = {0};
  text_format(&query, "'%s' in parents and trashed = false", folder);
  text_format(url, "%s/files?pageSize=1000&supportsAllDrives=true&includeItemsFromAllDrives=true&orderBy=name&fields=nextPageToken,"
              "files(" FIELDS ")&q=", d->base);
  url_encode(url, text_string(&query), query.size, URL_KEEP_UNRESERVED);
  if (!*page) return;
  text_put(url, "&pageToken=");
  url_encode(url, page, strlen(page), URL_KEEP_UNRESERVED);
}

static sm_status list_pages(struct drive *d, const char *folder) {
  text_auto struct text page = {0};
  sm_status status = SM_OK;
  do {
    text_auto struct text url = {0};
    json_t *answer = NULL;
    page_url(d, folder, text_string(&page), &url);
    status = ask(d, text_string(&url), "the folder cannot be listed", &answer);
    if (status == SM_OK) status = add_page(d, answer);
    text_reset(&page);
    if (status == SM_OK) text_put(&page, text_of(answer, "nextPageToken"));
    json_decref(answer);
  } while (status == SM_OK && page.size);
  return status;
}

/* An id goes into a query between quotes: letters, digits, - and _ are all there are. */
static bool id_is_sane(const char *id) {
  return id && *id && strlen(id) < 200 &&
         strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == strlen(id);
}

sm_status drive_list(sm_task *task) {
  struct drive d = {.base = sm_param_text(task, "url"), .token = sm_param_text(task, "token")};
  const char *folder = sm_param_text(task, "folder");
  struct http_settings http = {.ca_file = sm_param_text(task, "ca"), .cancelled = stop_wanted, .context = task,
                               .networks = strcmp(sm_param_text(task, "networks"), "public") ? HTTP_ANY_NETWORK : HTTP_PUBLIC_ONLY};
  if (!id_is_sane(folder)) return sm_fail(task, SM_FAIL, NULL, "`folder` is no id of a folder: copy it from the folder's address");
  if (!d.token || !*d.token || strpbrk(d.token, "\r\n"))
    return sm_fail(task, SM_FAIL, NULL, "`token` is missing: the caller sends one with the batch");
  sm_status status = listing_open(&d.list, task);
  d.client = status == SM_OK ? http_open(&http) : NULL;
  if (status == SM_OK && !d.client) status = sm_fail(task, SM_RETRY, NULL, "memory ran out: try again");
  if (status == SM_OK) status = list_pages(&d, folder);
  http_close(&d.client);
  return listing_close(&d.list, status);
}
