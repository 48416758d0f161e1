/* Backing up a running store. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "store/inner.h"

static enum err must_be_empty(const char *folder, struct error *e) {
  DIR *dir = opendir(folder);
  if (!dir) return error_errno(e, errno, "cannot list %s", folder);
  struct dirent *entry;
  size_t count = 0;
  while ((entry = readdir(dir))) count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
  closedir(dir);
  return count ? error_set(e, ERR_CONFLICT, "%s is not empty: a backup goes into a folder of its own", folder) : ERR_OK;
}

/* The copy is one moment's: LMDB reads it in one transaction while the writer goes on. */
enum err backup_into(struct database *db, const char *folder, struct error *e) {
  enum err status = fs_make_folders(folder, 0700, e);
  if (!status) status = must_be_empty(folder, e);
  if (status) return status;
  mem_auto char *path = mem_format("%s/data.mdb", folder);
  /* Our own descriptor, close-on-exec, instead of LMDB's. */
  fd_auto int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return error_errno(e, errno, "cannot write %s", path);
  pthread_rwlock_rdlock(&db->lock);
  int code = db->env ? mdb_env_copyfd2(db->env, fd, MDB_CP_COMPACT) : EIO;
  pthread_rwlock_unlock(&db->lock);
  if (!code && fsync(fd) != 0) code = errno;
  if (!code) return fs_sync_folder(folder, e);
  unlink(path);
  return db_fault(db, code, "cannot back up", e);
}

enum err store_backup(struct store *s, const char *folder, struct error *e) { return backup_into(&s->db, folder, e); }
