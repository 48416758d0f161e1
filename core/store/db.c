#include "store/db.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"

static const uint64_t MAP_RESERVED = 64ull << 30, MAP_LEAST = 64ull << 20;
enum { READERS_MAX = 512 };

const char *db_name(enum db db) {
  static const char *const names[DB_COUNT] = {"meta", "jobs",   "specs",   "stages",      "attempts",
                                              "live", "events", "history", "checkpoints", "identity",
                                              "open", "index",  "totals",  "sides",       "side_index"};
  return names[db];
}

static bool says_full(struct database *db, int code) {
  if (code == ENOSPC || code == EDQUOT || code == MDB_MAP_FULL) return true;
  /* LMDB answers a short write, which is what a file system does that fills up under it, with EIO. */
  if (code != EIO) return false;
  int64_t left = fs_free_bytes(db->folder);
  return left >= 0 && left < 1 << 20;
}

enum err db_fault(struct database *db, int code, const char *what, struct error *e) {
  enum err status = ERR_IO;
  if (says_full(db, code)) {
    const char *thing = code == MDB_MAP_FULL ? "the store's map is full" : "no space left on its file system";
    status =
        error_set(e, ERR_NO_SPACE, "%s: %s: %s; make room and try again, nothing is lost", db->folder, what, thing);
  } else if (code == MDB_CORRUPTED || code == MDB_PAGE_NOTFOUND || code == MDB_INVALID) {
    status = error_set(e, ERR_CORRUPT, "%s: %s: the store is damaged; restore a backup", db->folder, what);
  } else if (code == MDB_VERSION_MISMATCH) {
    status = error_set(e, ERR_VERSION, "%s: %s: written by another version of LMDB", db->folder, what);
  } else {
    error_set(e, ERR_IO, "%s: %s: %s", db->folder, what, mdb_strerror(code));
  }
  error_debug(e, "%d (%s)", code, mdb_strerror(code));
  return status;
}

/* ---- opening ---- */

static bool is_same(const struct stat *a, const struct stat *b) {
  return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* LMDB 0.9.24 leaves a descriptor without close-on-exec: a child could write the database. Found by what they name,
 * since the library tells of one only. */
static void close_on_exec(const char *folder) {
  mem_auto char *data_path = mem_format("%s/data.mdb", folder), *lock_path = mem_format("%s/lock.mdb", folder);
  struct stat data, lock, s;
  if (stat(data_path, &data) != 0 || stat(lock_path, &lock) != 0) return;
  DIR *dir = opendir("/proc/self/fd");
  struct dirent *entry;
  /* Without /proc: the descriptors a process has this early. */
  for (int fd = 3; !dir && fd < 1024; fd++)
    if (fstat(fd, &s) == 0 && (is_same(&s, &data) || is_same(&s, &lock))) fcntl(fd, F_SETFD, FD_CLOEXEC);
  while (dir && (entry = readdir(dir))) {
    int fd = atoi(entry->d_name);
    if (fd > 2 && fstat(fd, &s) == 0 && (is_same(&s, &data) || is_same(&s, &lock))) fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  if (dir) closedir(dir);
}

/* A file cut short by an accident would kill us with SIGBUS when its missing pages are read through the map. Holes read
 * as zeros instead, which LMDB answers with an error. */
static void fill_to_end(MDB_env *env) {
  MDB_envinfo info;
  MDB_stat page;
  struct stat s;
  int fd;
  if (mdb_env_info(env, &info) || mdb_env_stat(env, &page) || mdb_env_get_fd(env, &fd) || fstat(fd, &s)) return;
  off_t wanted = (off_t)((info.me_last_pgno + 1) * page.ms_psize);
  if (s.st_size < wanted && ftruncate(fd, wanted) != 0) log_warning("cannot extend the store's file");
}

static int open_env(struct database *db, uint64_t map_bytes) {
  int code = mdb_env_create(&db->env);
  if (code) return code;
  mdb_env_set_maxdbs(db->env, DB_COUNT);
  mdb_env_set_maxreaders(db->env, READERS_MAX);
  code = mdb_env_set_mapsize(db->env, map_bytes);
  /* No WRITEMAP: it brings nothing, and a stray pointer could then write into the store. NOTLS: a read transaction
   * belongs to its call, not to a thread. NOMEMINIT is left out: pages do not leak old memory to disk. */
  if (!code) code = mdb_env_open(db->env, db->folder, MDB_NOTLS, 0600);
  if (code) {
    mdb_env_close(db->env);
    db->env = NULL;
    return code;
  }
  db->map_bytes = map_bytes;
  close_on_exec(db->folder);
  fill_to_end(db->env);
  int dead = 0;
  mdb_reader_check(db->env, &dead);
  return 0;
}

/* Address space may be rationed: a smaller map then, that grows. */
static int open_reserved(struct database *db, uint64_t map_bytes) {
  int code = open_env(db, map_bytes);
  while (code == ENOMEM && db->growable && map_bytes > MAP_LEAST) {
    map_bytes /= 4;
    code = open_env(db, map_bytes);
  }
  return code;
}

enum err db_open(struct database *db, const char *folder, uint64_t map_bytes, struct error *e) {
  *db = (struct database){.folder = mem_text(folder), .growable = map_bytes == 0};
  pthread_rwlock_init(&db->lock, NULL);
  int code = open_reserved(db, map_bytes ? map_bytes : MAP_RESERVED);
  if (!code) return ERR_OK;
  enum err status = db_fault(db, code, "cannot open the store", e);
  db_close(db);
  return status;
}

void db_close(struct database *db) {
  if (!db->folder) return;
  if (db->env) mdb_env_close(db->env);
  pthread_rwlock_destroy(&db->lock);
  free(db->folder);
  *db = (struct database){0};
}

static int open_databases(struct database *db) {
  MDB_txn *txn;
  int code = mdb_txn_begin(db->env, NULL, 0, &txn);
  if (code) return code;
  for (int i = 0; i < DB_COUNT && !code; i++) code = mdb_dbi_open(txn, db_name((enum db)i), MDB_CREATE, &db->dbi[i]);
  if (!code) return mdb_txn_commit(txn);
  mdb_txn_abort(txn);
  return code;
}

enum err db_reopen(struct database *db, struct error *e) {
  pthread_rwlock_wrlock(&db->lock);
  if (db->env) mdb_env_close(db->env);
  db->env = NULL;
  int code = open_reserved(db, db->map_bytes);
  if (!code) code = open_databases(db);
  pthread_rwlock_unlock(&db->lock);
  return code ? db_fault(db, code, "cannot reopen the store", e) : ERR_OK;
}

bool db_grow(struct database *db, bool must) {
  if (!db->growable && !must) return false;
  pthread_rwlock_wrlock(&db->lock);
  uint64_t more = db->growable ? db->map_bytes * 2 : db->map_bytes + (1 << 20);
  int code = mdb_env_set_mapsize(db->env, more);
  if (!code) db->map_bytes = more;
  pthread_rwlock_unlock(&db->lock);
  return code == 0;
}

/* ---- transactions ---- */

/* Another process (a repair tool) made the file larger than our map: take its size over. */
static int follow_resize(struct database *db) {
  pthread_rwlock_wrlock(&db->lock);
  int code = mdb_env_set_mapsize(db->env, 0);
  MDB_envinfo info;
  if (!code && mdb_env_info(db->env, &info) == 0) db->map_bytes = info.me_mapsize;
  pthread_rwlock_unlock(&db->lock);
  return code;
}

enum err read_begin(struct database *db, struct tx *tx, struct error *e) {
  *tx = (struct tx){.db = db};
  for (int tries = 0;; tries++) {
    pthread_rwlock_rdlock(&db->lock);
    int code = db->env ? mdb_txn_begin(db->env, NULL, MDB_RDONLY, &tx->txn) : EIO;
    if (!code) return ERR_OK;
    pthread_rwlock_unlock(&db->lock);
    if (code == MDB_MAP_RESIZED && tries < 3) code = follow_resize(db);
    if (code) return db_fault(db, code, "cannot read the store", e);
  }
}

enum err read_end(struct tx *tx, struct error *e) {
  mdb_txn_abort(tx->txn);
  tx->txn = NULL;
  pthread_rwlock_unlock(&tx->db->lock);
  return tx->fault ? db_fault(tx->db, tx->fault, "cannot read the store", e) : ERR_OK;
}

int write_begin(struct database *db, struct tx *tx) {
  *tx = (struct tx){.db = db};
  int code = db->env ? mdb_txn_begin(db->env, NULL, 0, &tx->txn) : MDB_PANIC;
  if (code == MDB_MAP_RESIZED && (code = follow_resize(db)) == 0) code = mdb_txn_begin(db->env, NULL, 0, &tx->txn);
  return code;
}
