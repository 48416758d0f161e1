/* The part of fs.h that enters folders somebody else may have filled: nothing followed, everything bounded. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

enum { REMOVE_DEPTH_MAX = 256 };

static bool stays_beneath(const char *relative) {
  if (relative[0] == '/') return false;
  for (const char *at = relative; *at;) {
    size_t size = strcspn(at, "/");
    if (size == 2 && at[0] == '.' && at[1] == '.') return false;
    at += size;
    while (*at == '/') at++;
  }
  return true;
}

/* For kernels (or seccomp profiles) without openat2: one component after the other, no link followed. */
static int open_stepwise(int root, const char *relative, int flags, mode_t mode) {
  int at = fcntl(root, F_DUPFD_CLOEXEC, 3);
  while (at >= 0) {
    while (*relative == '/') relative++;
    size_t size = strcspn(relative, "/");
    const char *rest = relative + size;
    while (*rest == '/') rest++;
    mem_auto char *name = size ? mem_text_n(relative, size) : mem_text(".");
    bool last = *rest == '\0';
    int next = openat(at, name, last ? flags | O_NOFOLLOW : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, mode);
    int saved = errno;
    close(at);
    errno = saved;
    if (last) return next;
    at = next;
    relative = rest;
  }
  return -1;
}

static int open_beneath(int root, const char *relative, int flags, mode_t mode) {
  static atomic_bool missing;
  if (!atomic_load(&missing)) {
    struct open_how how = {.flags = (uint64_t)(unsigned)flags,
                           .mode = flags & (O_CREAT | O_TMPFILE) & ~O_DIRECTORY ? mode : 0,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    int fd;
    /* EAGAIN: a rename elsewhere raced with the look-up; the kernel asks to try again. */
    int tries = 0;
    do fd = (int)syscall(SYS_openat2, root, relative, &how, sizeof(how));
    while (fd < 0 && errno == EAGAIN && ++tries < 64);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM)) return fd;
    if (errno == ENOSYS) atomic_store(&missing, true);
  }
  return open_stepwise(root, relative, flags, mode);
}

int fs_open_beneath(int root, const char *relative, int flags, mode_t mode, struct error *e) {
  if (!relative[0]) relative = ".";
  if (!stays_beneath(relative)) {
    error_set(e, ERR_DENIED, "%s leads out of its folder", relative);
    return -1;
  }
  int fd = open_beneath(root, relative, flags | O_CLOEXEC, mode);
  if (fd >= 0) return fd;
  if (errno == ELOOP || errno == EXDEV)
    error_set(e, ERR_DENIED, "%s is or passes through a symbolic link", relative);
  else
    error_errno(e, errno, "cannot open %s", relative);
  return -1;
}

/* Empties the folder that fd names. Takes fd. */
static int empty_folder(int fd, unsigned depth) {
  DIR *dir = fdopendir(fd);
  if (!dir) {
    int saved = errno;
    close(fd);
    return saved;
  }
  int fault = depth > REMOVE_DEPTH_MAX ? ELOOP : 0;
  struct dirent *entry;
  while (!fault && (entry = readdir(dir))) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if (unlinkat(dirfd(dir), entry->d_name, 0) == 0 || errno == ENOENT) continue;
    if (errno != EISDIR && errno != EPERM) {
      fault = errno;
      break;
    }
    int child = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (child < 0) {
      fault = errno;
      break;
    }
    fault = empty_folder(child, depth + 1);
    if (!fault && unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR) != 0 && errno != ENOENT) fault = errno;
  }
  closedir(dir);
  return fault;
}

enum err fs_remove_tree(int root, const char *relative, struct error *e) {
  if (!relative[0] || !stays_beneath(relative)) return error_set(e, ERR_DENIED, "%s is no tree to remove", relative);
  mem_auto char *path = mem_text(relative);
  for (size_t size = strlen(path); size > 1 && path[size - 1] == '/'; size--) path[size - 1] = '\0';
  char *slash = strrchr(path, '/');
  const char *name = slash ? slash + 1 : path;
  if (slash) *slash = '\0';
  struct error why;
  fd_auto int parent = fs_open_beneath(root, slash ? path : ".", O_RDONLY | O_DIRECTORY, 0, &why);
  if (parent < 0 && why.code == ERR_NOT_FOUND) return ERR_OK;
  if (parent < 0) {
    if (e) *e = why;
    return why.code;
  }
  if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return ERR_OK;
  if (errno != EISDIR && errno != EPERM) return error_errno(e, errno, "cannot remove %s", relative);
  int folder = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (folder < 0) return error_errno(e, errno, "cannot open %s to remove it", relative);
  int fault = empty_folder(folder, 1);
  if (!fault && unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT) fault = errno;
  if (fault) return error_errno(e, fault, "cannot remove all of %s", relative);
  return ERR_OK;
}

enum err fs_remove_path(const char *path, struct error *e) {
  mem_auto char *parent = fs_absolute(NULL, path);
  char *slash = strrchr(parent, '/');
  if (!slash || !slash[1]) return error_set(e, ERR_DENIED, "%s is no tree to remove", path);
  mem_auto char *name = mem_text(slash + 1);
  slash[slash == parent ? 1 : 0] = '\0';
  fd_auto int root = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0 && errno == ENOENT) return ERR_OK;
  if (root < 0) return error_errno(e, errno, "cannot open %s", parent);
  return fs_remove_tree(root, name, e);
}

/* ---- walking ---- */

struct walk {
  fs_visit *visit;
  void *context;
  uint64_t left, max_entries;
  unsigned max_depth;
};

struct names {
  char **items;
  size_t count;
};

static void names_free(struct names *n) {
  for (size_t i = 0; i < n->count; i++) free(n->items[i]);
  free(n->items);
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Reads the names of one folder, never more than the walk may still see. Takes nothing: works on a duplicate. */
static enum err read_names(int fd, struct walk *w, struct names *out, struct error *e) {
  int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
  if (!dir) {
    int saved = errno;
    if (copy >= 0) close(copy);
    return error_errno(e, saved, "cannot list a folder");
  }
  struct dirent *entry;
  enum err status = ERR_OK;
  while ((entry = readdir(dir))) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if (w->left == 0) {
      status = error_set(e, ERR_TOO_LARGE, "more than %llu files and folders", (unsigned long long)w->max_entries);
      break;
    }
    w->left--;
    if ((out->count & (out->count - 1)) == 0)
      out->items = mem_grow(out->items, out->count ? out->count * 2 : 1, sizeof(*out->items));
    out->items[out->count++] = mem_text(entry->d_name);
  }
  closedir(dir);
  if (out->count) qsort(out->items, out->count, sizeof(*out->items), compare_names);
  return status;
}

static enum err walk_folder(int fd, const char *path, unsigned depth, struct walk *w, struct error *e);

static enum err walk_entry(int fd, const char *path, const char *name, unsigned depth, struct walk *w,
                           struct error *e) {
  mem_auto char *full = path[0] ? mem_format("%s/%s", path, name) : mem_text(name);
  struct fs_entry entry = {.path = full, .folder = fd, .name = name};
  if (fstatat(fd, name, &entry.stat, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return ERR_OK; /* gone since it was listed */
    return error_errno(e, errno, "cannot look at %s", full);
  }
  enum err status = w->visit(w->context, &entry, e);
  if (status || !S_ISDIR(entry.stat.st_mode)) return status;
  if (depth >= w->max_depth)
    return error_set(e, ERR_TOO_LARGE, "%s: folders are nested more than %u deep", full, w->max_depth);
  fd_auto int child = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (child < 0) return error_errno(e, errno, "cannot open the folder %s", full);
  return walk_folder(child, full, depth + 1, w, e);
}

static enum err walk_folder(int fd, const char *path, unsigned depth, struct walk *w, struct error *e) {
  struct names names = {0};
  enum err status = read_names(fd, w, &names, e);
  for (size_t i = 0; i < names.count && !status; i++) status = walk_entry(fd, path, names.items[i], depth, w, e);
  names_free(&names);
  return status;
}

enum err fs_walk(int root, const char *relative, uint64_t max_entries, unsigned max_depth, fs_visit *visit,
                 void *context, struct error *e) {
  fd_auto int top = fs_open_beneath(root, relative, O_RDONLY | O_DIRECTORY, 0, e);
  if (top < 0) return e ? e->code : ERR_IO;
  struct walk w = {visit, context, max_entries, max_entries, max_depth};
  return walk_folder(top, "", 1, &w, e);
}
