/* archive.c - the files in an archive, unpacked one by one through libarchive. An archive is a stranger's word about names
 * and sizes: every name is ours ("0001-clip.mp4"), sizes are counted while they come, links and devices are not followed. */
#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/checksum.h"
#include "list.h"

enum { BLOCK_BYTES = 128 * 1024, NAME_MAX_BYTES = 100 };

struct unpacking {
  struct listing list;
  struct archive *archive;
  int64_t total, total_max;
  int number;
};

/* The last component, with what a file's name needs and nothing else. */
static void tame_name(const char *path, char out[NAME_MAX_BYTES]) {
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  size_t n = 0, length = strlen(name);
  const char *from = length > NAME_MAX_BYTES - 20 ? name + length - (NAME_MAX_BYTES - 20) : name; /* the end has the extension */
  for (; *from && n < NAME_MAX_BYTES - 1; from++)
    out[n++] = isalnum((unsigned char)*from) || strchr("._-", *from) ? *from : '_';
  out[n] = '\0';
}

enum unpacked { UNPACKED = 1, UNPACKED_TOO_LARGE, UNPACKED_UNREADABLE, UNPACKED_CANNOT_WRITE };

static bool write_all(int fd, const char *data, size_t size) {
  while (size) {
    ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    data += n;
    size -= (size_t)n;
  }
  return true;
}

/* One entry's bytes to a file, counted as they come: what the header says of the size is only a promise. */
static enum unpacked unpack(struct unpacking *u, int fd, int64_t *bytes, struct checksum_stream *hash) {
  static char block[BLOCK_BYTES];
  *bytes = 0;
  for (;;) {
    la_ssize_t n = archive_read_data(u->archive, block, sizeof block);
    if (n < 0) return UNPACKED_UNREADABLE;
    if (n == 0) return UNPACKED;
    *bytes += n;
    u->total += n;
    if (listing_is_oversized(&u->list, *bytes) || (u->total_max > 0 && u->total > u->total_max)) return UNPACKED_TOO_LARGE;
    if (!write_all(fd, block, (size_t)n)) return UNPACKED_CANNOT_WRITE;
    checksum_stream_add(hash, block, (size_t)n);
    sm_progress(u->list.task, NAN, NULL);
  }
}

static sm_status unpack_entry(struct unpacking *u, const char *path, struct listed *file) {
  char tame[NAME_MAX_BYTES], name[NAME_MAX_BYTES + 32], hex[SHA256_HEX_SIZE], source[SHA256_HEX_SIZE + 16];
  tame_name(path, tame);
  snprintf(name, sizeof name, "entries/%04d-%s", ++u->number, tame);
  const char *target = sm_output_path(u->list.task, "entries", name);
  int fd = target ? open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644) : -1;
  if (fd < 0) return sm_fail(u->list.task, SM_RETRY, NULL, "cannot unpack %s: %s", name, strerror(errno));
  struct checksum_stream *hash = checksum_stream_new();
  enum unpacked how = hash ? unpack(u, fd, &file->bytes, hash) : UNPACKED_CANNOT_WRITE;
  if (close(fd) && how == UNPACKED) how = UNPACKED_CANNOT_WRITE;
  bool hashed = how == UNPACKED && checksum_stream_hex(hash, hex);
  checksum_stream_free(&hash);
  if (how != UNPACKED) unlink(target);
  if (how == UNPACKED_CANNOT_WRITE) return sm_fail(u->list.task, SM_RETRY, NULL, "cannot unpack %s: %s", name, strerror(errno));
  if (how == UNPACKED_TOO_LARGE && u->total_max > 0 && u->total > u->total_max)
    return sm_fail(u->list.task, SM_FAIL, NULL, "the archive unpacks to more than %lld bytes: raise `max-total`, or split it",
                   (long long)u->total_max);
  if (how == UNPACKED_TOO_LARGE) file->problem = "oversized", file->message = "it unpacks to more than a file may have";
  if (how == UNPACKED_UNREADABLE) file->problem = "unreadable", file->message = archive_error_string(u->archive);
  snprintf(source, sizeof source, "sha256:%s", hashed ? hex : "");
  file->source = hashed ? source : NULL;
  file->input = name;
  sm_status status = listing_add(&u->list, file);
  if (status != SM_OK || how != UNPACKED) return status;
  return sm_output(u->list.task, "entries", name, "application/octet-stream", NULL);
}

static sm_status take_entry(struct unpacking *u, struct archive_entry *entry) {
  const char *path = archive_entry_pathname_utf8(entry);
  if (!path) path = archive_entry_pathname(entry);
  struct listed file = {.name = path ? path : "?", .bytes = archive_entry_size_is_set(entry) ? archive_entry_size(entry) : -1};
  if (archive_entry_filetype(entry) == AE_IFDIR) return SM_OK;
  if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry))
    file.problem = "unsafe-name", file.message = "it is a link or a device, not a file";
  else if (!path)
    file.problem = "unsafe-name", file.message = "its name cannot be read";
  else if (archive_entry_is_encrypted(entry) > 0)
    file.problem = "encrypted", file.message = "it is encrypted";
  else if (file.bytes == 0)
    file.problem = "empty", file.message = "it has no bytes";
  if (file.problem || listing_is_oversized(&u->list, file.bytes)) {
    archive_read_data_skip(u->archive);
    return listing_add(&u->list, &file);
  }
  return unpack_entry(u, path, &file);
}

static sm_status take_all(struct unpacking *u) {
  sm_status status = SM_OK;
  struct archive_entry *entry;
  int code = ARCHIVE_OK;
  while (status == SM_OK && (code = archive_read_next_header(u->archive, &entry)) >= ARCHIVE_WARN && code != ARCHIVE_EOF)
    status = take_entry(u, entry);
  if (status != SM_OK || code == ARCHIVE_EOF) return status;
  return sm_fail(u->list.task, SM_FAIL, NULL, "the archive is damaged, or none: %s", archive_error_string(u->archive));
}

sm_status archive_list(sm_task *task) {
  struct unpacking u = {.total_max = sm_param_int(task, "max-total")};
  int fd = sm_input_open(task, "archive", 0);
  if (fd < 0) return sm_fail(task, SM_FAIL, NULL, "there is no archive to look into: name one as the job's input");
  sm_status status = listing_open(&u.list, task);
  u.archive = archive_read_new();
  if (status == SM_OK && u.archive) {
    archive_read_support_filter_all(u.archive);
    archive_read_support_format_tar(u.archive);
    archive_read_support_format_zip(u.archive);
    archive_read_support_format_7zip(u.archive);
    if (archive_read_open_fd(u.archive, fd, BLOCK_BYTES) != ARCHIVE_OK)
      status = sm_fail(task, SM_FAIL, NULL, "this is no tar, zip or 7z archive: %s", archive_error_string(u.archive));
    else
      status = take_all(&u);
  }
  if (u.archive) archive_read_free(u.archive);
  close(fd);
  return listing_close(&u.list, status);
}
