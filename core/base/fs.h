/* fs.h - files and folders beneath a root, with no links followed, durable when it says so. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"

/* mkdir -p; existing folders are fine. Mode applies to the ones made. */
enum err fs_make_folders(const char *path, mode_t mode, struct error *e);
/* Opens `relative` below root with openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS), O_CLOEXEC;
 * falls back to component-wise O_NOFOLLOW where openat2 is missing. Returns the descriptor or -1 with e set. */
int fs_open_beneath(int root, const char *relative, int flags, mode_t mode, struct error *e);
/* Removes a whole tree below root, links unfollowed; a missing one is fine. */
enum err fs_remove_tree(int root, const char *relative, struct error *e);
/* The same by a path of our own making (its parents are trusted, links in them followed). */
enum err fs_remove_path(const char *path, struct error *e);
/* Whole regular file into out; ERR_TOO_LARGE above limit. */
enum err fs_read_file(const char *path, size_t limit, struct buf *out, struct error *e);
enum err fs_read_fd(int fd, size_t limit, struct buf *out, struct error *e);
/* Writes name.tmp-XXXXXX beside it, fsyncs, renames, fsyncs the folder. */
enum err fs_write_durably(const char *path, const void *data, size_t size, mode_t mode, struct error *e);
enum err fs_sync_folder(const char *path, struct error *e);
/* Calls visit for every entry below `root/relative` (folders first, names sorted). Links are reported, not followed.
 * Stops with its answer when visit returns anything but ERR_OK; ERR_TOO_LARGE beyond max_entries or max_depth. */
struct fs_entry {
  const char *path; /* relative to where the walk began */
  int folder;       /* descriptor of the containing folder, valid during the call */
  const char *name; /* last component */
  struct stat stat; /* of the entry itself */
};
typedef enum err fs_visit(void *context, const struct fs_entry *entry, struct error *e);
enum err fs_walk(int root, const char *relative, uint64_t max_entries, unsigned max_depth, fs_visit *visit,
                 void *context, struct error *e);
/* Clean absolute form without touching the disk ("." and ".." and doubled slashes resolved); relative to `base` (NULL:
 * the working directory). The result is malloc'ed. */
char *fs_absolute(const char *base, const char *path);
const char *fs_base_name(const char *path); /* behind the last slash */
/* Free bytes for an ordinary user on the file system of path; -1 when unknown. */
int64_t fs_free_bytes(const char *path);
