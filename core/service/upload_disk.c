/* Files of this machine: written aside, made durable, then given their name. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "service/upload.h"

enum { ROOM_LEFT = 64 << 20, ROOM_EVERY = 16 << 20 };

char *upload_folder(struct service *service) {
  const struct settings *settings = settings_hold(service->settings);
  char *folder = settings->uploads.folder ? fs_absolute(NULL, settings->uploads.folder)
                                          : mem_format("%s/uploads", service->state_folder);
  settings_release(service->settings, &settings);
  return folder;
}

char *upload_path(struct service *service, const char *key) {
  mem_auto char *folder = upload_folder(service);
  return mem_format("%s%s", folder, strchr(key, '/'));
}

char *upload_partial_path(struct service *service, const char *key) {
  mem_auto char *folder = upload_folder(service);
  return mem_format("%s/.partial/%s", folder, upload_key_name(key));
}

/* The store shares the disk more often than not: what fills it up would stop the daemon. */
enum err upload_room(struct service *service, int64_t bytes, struct error *e) {
  mem_auto char *folder = upload_folder(service);
  int64_t free_bytes = fs_free_bytes(folder);
  if (free_bytes < 0 && errno == ENOENT) free_bytes = fs_free_bytes(service->state_folder);
  if (free_bytes < 0 || free_bytes - ROOM_LEFT >= bytes) return ERR_OK;
  return error_set(e, ERR_NO_SPACE, "the disk for uploads has no room for %lld bytes more: try again later",
                   (long long)bytes);
}

static enum err make_folder_of(const char *path, struct error *e) {
  mem_auto char *folder = mem_text_n(path, (size_t)(strrchr(path, '/') - path));
  return fs_make_folders(folder, 0700, e);
}

enum err upload_publish(struct service *service, const char *key, int fd, struct error *e) {
  mem_auto char *from = upload_partial_path(service, key), *to = upload_path(service, key);
  mem_auto char *folder = mem_text_n(to, (size_t)(strrchr(to, '/') - to));
  if (fsync(fd) != 0) return error_errno(e, errno, "cannot sync an upload");
  if (make_folder_of(to, e)) return e ? e->code : ERR_IO;
  if (rename(from, to) != 0) return error_errno(e, errno, "cannot give an upload its name");
  return fs_sync_folder(folder, e);
}

void upload_unlink(struct service *service, const char *key) {
  mem_auto char *partial = upload_partial_path(service, key), *path = upload_path(service, key);
  mem_auto char *base = mem_format("%s.base", partial);
  unlink(partial);
  unlink(base);
  unlink(path);
}

/* ---- in one go -------------------------------------------------------------------------------------------------- */

enum err upload_sink_open(struct upload_sink *sink, struct service *service, const char *key, int64_t most,
                          struct error *e) {
  mem_auto char *path = upload_partial_path(service, key);
  *sink = (struct upload_sink){.service = service, .key = key, .fd = -1, .most = most};
  enum err status = make_folder_of(path, e);
  if (status) return status;
  sink->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  return sink->fd < 0 ? error_errno(e, errno, "cannot make a file for an upload") : ERR_OK;
}

enum err upload_sink_write(struct upload_sink *sink, const void *data, size_t size, struct error *e) {
  const char *at = data;
  if (sink->bytes + (int64_t)size > sink->most)
    return error_set(e, ERR_TOO_LARGE, "an upload may have at most %lld bytes", (long long)sink->most);
  if (sink->bytes + (int64_t)size > sink->checked) {
    if (upload_room(sink->service, ROOM_EVERY, e)) return ERR_NO_SPACE;
    sink->checked += ROOM_EVERY;
  }
  while (size) {
    ssize_t n = write(sink->fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_errno(e, errno, "cannot write an upload");
    at += n;
    size -= (size_t)n;
    sink->bytes += n;
  }
  return ERR_OK;
}

enum err upload_sink_close(struct upload_sink *sink, bool complete, struct error *e) {
  mem_auto char *path = upload_partial_path(sink->service, sink->key);
  enum err status = complete ? upload_publish(sink->service, sink->key, sink->fd, e) : ERR_OK;
  if (sink->fd >= 0) close(sink->fd);
  sink->fd = -1;
  if (!complete || status) unlink(path);
  return status;
}
