/* upload - puts the artifacts of earlier stages into a folder or an S3-compatible bucket, playlists last.
 *
 * Files keep the path they have below their stage's folder. When more than one stage feeds the port (or `layout: stages`)
 * each one's files stand below a folder named after it, so that nothing collides: stream/master.m3u8, poster/poster.jpg.
 * The job's own input, when it is among them, stands beside those folders. */
#include "upload.h"

#include <stdlib.h>
#include <string.h>

#include "common/url.h"

static const sm_param params[] = {
  SM_TARGET("to", SM_REQUIRED, "where to: a folder, file:///folder or s3://bucket/prefix"),
  SM_CHOICE("layout", "auto", "auto|stages|flat",
            "folders named after the stages: auto has them when more than one stage feeds the upload"),
  SM_TEXT("public-url", NULL, "URL under which the target is served; the result `url` then begins with it"),
  SM_TEXT("endpoint", NULL, "S3: URL of the object storage; Amazon's unless given"),
  SM_TEXT("region", "us-east-1", "S3: region to sign for"),
  SM_SECRET("access-key", 0, "S3: access key, as ${{ secrets.NAME }}"),
  SM_SECRET("secret-key", 0, "S3: secret key, as ${{ secrets.NAME }}"),
  SM_SECRET("session-token", 0, "S3: session token of temporary keys, as ${{ secrets.NAME }}"),
  SM_CHOICE("acl", NULL,
            "private|public-read|public-read-write|authenticated-read|aws-exec-read|bucket-owner-read|"
            "bucket-owner-full-control",
            "S3: canned access list of each object; the bucket's default unless given"),
  SM_TEXT("cache-control", NULL, "S3: Cache-Control of everything but playlists"),
  SM_TEXT("playlist-cache-control", NULL, "S3: Cache-Control of playlists"),
  SM_PARAM("content-types", SM_TAKES_TEXT, SM_REPEATED, NULL, NULL, 0, 0, NULL, NULL,
           "S3: other media types than the artifacts' own, each as `.ext=type/subtype`"),
  SM_SIZE("part-size", "16Mi", 5242880, 5368709120.0, "S3: larger files go in parts of this size"),
  SM_INT("concurrency", "4", 1, 32, NULL, "S3: requests at a time"),
  SM_INT("attempts", "5", 1, 20, NULL, "S3: tries of one object or part before the stage's own retry has its turn"),
  SM_DURATION("timeout", "60s", 1, 3600, "S3: give a request up when nothing moves for so long"),
  SM_FILE("ca", 0, "S3: certificates (PEM) to trust instead of the system's"),
  SM_PARAMS_END};
static const sm_port inputs[] = {SM_INPUTS("files", "*/*", "what to upload"), SM_PORTS_END};
static const sm_port outputs[] = {SM_PORTS_END};
static const sm_result results[] = {
  SM_RESULT_TEXT("url", SM_AT_END, "the master playlist, else a playlist, else the first file, where it is now"),
  SM_RESULT_TEXT("target", SM_AT_END, "folder or prefix that holds everything"),
  SM_RESULT_INT("files", SM_AT_END, NULL, "files that are there now"),
  SM_RESULT_INT("bytes", SM_AT_END, "bytes", "their size"),
  SM_RESULT_INT("sent", SM_AT_END, NULL, "files that had to be sent; the others were already there"),
  SM_RESULTS_END};

bool upload_stopped(void *upload) { return sm_cancelled(((struct upload *)upload)->task); }

void upload_progress(struct upload *u, const struct item *item) {
  char message[128];
  int64_t bytes = u->bytes_done + u->bytes_ahead;
  if (bytes > u->bytes_shown) u->bytes_shown = bytes;
  double fraction = u->bytes > 0 ? (double)u->bytes_shown / (double)u->bytes : 0;
  uint32_t number = u->finished + 1 < u->count ? u->finished + 1 : u->count;
  if (item) snprintf(message, sizeof message, "%.110s", item->name);
  sm_progress_items(u->task, fraction > 1 ? 1 : fraction, number, u->count, item ? message : NULL);
}

void upload_finished(struct upload *u, const struct item *item, bool was_sent) {
  u->finished++;
  u->bytes_done += item->size;
  if (was_sent) u->sent++;
  upload_progress(u, item);
}

/* `public-url` and the entrance's path below the target. */
static bool served_at(struct upload *u, const char *base, const struct item *entrance, struct text *out) {
  size_t size = strlen(base);
  while (size && base[size - 1] == '/') size--;
  text_add(out, base, size);
  text_char(out, '/');
  url_encode(out, entrance->name, strlen(entrance->name), URL_KEEP_SLASHES);
  (void)u;
  return !out->failed;
}

static bool folder_entrance(struct upload *u, const struct item *entrance, struct text *out) {
  text_auto struct text path = {0};
  text_format(&path, "%s/%s", u->target.folder, entrance->name);
  if (u->target.written_as_url) {
    text_put(out, "file://");
    url_encode(out, text_string(&path), path.size, URL_KEEP_SLASHES);
  } else {
    text_put(out, text_string(&path));
  }
  return !path.failed && !out->failed;
}

static sm_status hand_over(struct upload *u, const struct text *entrance_url) {
  text_auto struct text where = {0}, url = {0};
  const struct item *entrance = items_entrance(u);
  const char *public_url = sm_param_text(u->task, "public-url");
  bool ok = target_text(&u->target, &where);
  if (public_url && public_url[0])
    ok = ok && served_at(u, public_url, entrance, &url);
  else if (u->target.is_bucket)
    text_put(&url, text_string(entrance_url));
  else
    ok = ok && folder_entrance(u, entrance, &url);
  if (!ok || url.failed) return sm_fail(u->task, SM_RETRY, NULL, "memory ran out: try again");
  sm_result_text(u->task, "url", text_string(&url));
  sm_result_text(u->task, "target", text_string(&where));
  sm_result_int(u->task, "files", u->count);
  sm_result_int(u->task, "bytes", u->bytes);
  sm_result_int(u->task, "sent", u->sent);
  sm_progress_items(u->task, 1, u->count, u->count, NULL);
  return SM_OK;
}

static sm_status upload_run(sm_task *task) {
  struct upload u = {.task = task};
  text_auto struct text entrance_url = {0};
  sm_status status = target_parse(&u, sm_param_text(task, "to"));
  if (status == SM_OK) status = items_collect(&u);
  if (status == SM_OK) status = u.target.is_bucket ? bucket_upload(&u, &entrance_url) : folder_upload(&u);
  if (status == SM_OK) status = hand_over(&u, &entrance_url);
  if (status == SM_OK && u.sent < u.count)
    sm_log(task, SM_LOG_INFO, "%u of %u files were already there", u.count - u.sent, u.count);
  items_free(&u);
  target_free(&u.target);
  return status;
}

static const sm_stage stages[] = {
  SM_TASK_STAGE_CAP("upload", "puts files into a folder or an S3-compatible bucket", "network", params, inputs, outputs,
                    results, upload_run),
  SM_STAGES_END};
SM_PLUGIN("org.stagemill.upload", "0.1.0", "MIT", stages);
