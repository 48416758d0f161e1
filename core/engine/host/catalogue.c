#include "host/catalogue.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stagemill/abi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "host/cache.h"
#include "host/testload.h"
#include "wire/note.h"

enum { PLUGINS_MAX = 4096 };

struct catalogue {
  char *runner;
  struct plugin_record *records; /* sorted by path */
  size_t count;
  char **found; /* paths in the order of the folders: the first to bring a stage name keeps it */
  struct stage_set *stages;
  struct value *known; /* path -> cached entry, what the cache will hold */
  struct value *libraries;
};

/* ---- finding files ---- */

static int by_path(const void *a, const void *b) {
  return strcmp(((const struct plugin_record *)a)->path, ((const struct plugin_record *)b)->path);
}

static bool has_path(const struct catalogue *c, const char *path) {
  for (size_t i = 0; i < c->count; i++)
    if (strcmp(c->records[i].path, path) == 0) return true;
  return false;
}

static void add_file(struct catalogue *c, const char *folder, const char *name) {
  size_t size = strlen(name);
  if (size < 4 || name[0] == '.' || strcmp(name + size - 3, ".so") != 0 || c->count >= PLUGINS_MAX) return;
  char *path = mem_format("%s/%s", folder, name);
  if (has_path(c, path)) {
    free(path);
    return;
  }
  c->records = mem_grow(c->records, c->count + 1, sizeof(*c->records));
  c->found = mem_grow(c->found, c->count + 1, sizeof(*c->found));
  c->found[c->count] = path;
  c->records[c->count++] = (struct plugin_record){.path = path, .threads = 1};
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static void scan_folder(struct catalogue *c, const char *given) {
  mem_auto char *folder = fs_absolute(NULL, given);
  struct dirent **names = NULL;
  int count = scandir(folder, &names, NULL, by_name);
  if (count < 0 && errno != ENOENT) log_warning("cannot read the plugin folder %s: %s", folder, strerror(errno));
  for (int i = 0; i < count; i++) {
    add_file(c, folder, names[i]->d_name);
    free(names[i]);
  }
  free(names);
}

/* ---- what is known of one ---- */

/* A record as the cache keeps it; stages are the packed stage types. */
static struct value *entry_of(const struct plugin_record *r, const struct value *stages) {
  struct value *v = value_map();
  mem_auto char *identity = cache_identity(r->path);
  value_set_text(v, "identity", identity);
  value_set_int(v, "state", r->state);
  value_set_text(v, "reason", r->reason);
  value_set_text(v, "sha256", r->sha256);
  value_set_text(v, "version", r->version);
  value_set_text(v, "license", r->license);
  value_set_int(v, "threads", r->threads);
  value_set_bool(v, "usesLibav", r->uses_libav);
  value_map_set(v, "stages", stages ? value_copy(stages) : value_list());
  return v;
}

static void set_reason(struct plugin_record *r, enum plugin_state state, const char *reason) {
  r->state = state;
  free(r->reason);
  r->reason = mem_text(reason);
}

static void hash_file(struct plugin_record *r) {
  char hex[65];
  fd_auto int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  free(r->sha256);
  r->sha256 = fd >= 0 && digest_of_fd(fd, hex, NULL, NULL) == ERR_OK ? mem_text(hex) : NULL;
}

/* Reads and judges the note; false when that is the end of it. libav is judged where it can be loaded. */
static bool judge(struct plugin_record *r) {
  struct note note;
  struct error e;
  struct note_host host = {.abi_major = SM_ABI_MAJOR, .abi_minor = SM_ABI_MINOR};
  enum err err = note_read(r->path, &note, &e);
  if (!err) {
    r->id = mem_text(note.id);
    r->abi_major = note.abi_major;
    r->abi_minor = note.abi_minor;
    r->lowest_host_minor = note.lowest_host_minor;
    r->avutil_version = note.avutil_version;
    r->avcodec_version = note.avcodec_version;
    err = note_judge(&note, &host, r->path, &e);
  }
  if (err) set_reason(r, PLUGIN_REFUSED, e.message);
  return err == ERR_OK;
}

/* Adds its stages; a table that does not hold together refuses the plugin, a name that is taken only that stage. */
static void take_stages(struct catalogue *c, struct plugin_record *r, const struct value *stages) {
  struct error e;
  r->stages = mem_array(stages->count + 1, sizeof(*r->stages));
  for (size_t i = 0; i < stages->count; i++) {
    struct stage_type *type = NULL;
    if (stage_type_from_value(stages->items[i], &type, &e)) {
      error_prefix(&e, "%s", r->path);
      set_reason(r, PLUGIN_REFUSED, e.message);
      return;
    }
    free(type->plugin_path);
    free(type->plugin_sha256);
    type->plugin_path = mem_text(r->path);
    type->plugin_sha256 = mem_text(r->sha256);
    r->stages[r->stage_count++] = mem_text(type->name);
    if (stage_set_add(c->stages, type, &e)) log_warning("%s", e.message);
  }
}

static void take_entry(struct catalogue *c, struct plugin_record *r, const struct value *entry) {
  const struct value *stages = value_get(entry, "stages");
  set_reason(r, (enum plugin_state)value_get_int(entry, "state", PLUGIN_REFUSED), value_get_text(entry, "reason", NULL));
  r->sha256 = mem_text(value_get_text(entry, "sha256", NULL));
  r->version = mem_text(value_get_text(entry, "version", NULL));
  r->license = mem_text(value_get_text(entry, "license", NULL));
  r->threads = (unsigned)value_get_int(entry, "threads", 1);
  r->uses_libav = value_get_bool(entry, "usesLibav", false);
  if (r->state == PLUGIN_LOADED && stages && stages->type == VALUE_LIST) take_stages(c, r, stages);
}

static bool is_fresh(const struct plugin_record *r, const struct value *entry) {
  mem_auto char *identity = cache_identity(r->path);
  return identity && strcmp(identity, value_get_text(entry, "identity", "")) == 0;
}

/* ---- loading what is not known ---- */

static struct plugin_record *find(const struct catalogue *c, const char *path) {
  struct plugin_record key = {.path = (char *)(uintptr_t)path};
  return c->count ? bsearch(&key, c->records, c->count, sizeof(key), by_path) : NULL;
}

static void on_loaded(void *context, const char *path, const struct value *body, const char *crash) {
  struct catalogue *c = context;
  struct plugin_record *r = find(c, path);
  if (!r) return;
  const struct value *stages = value_get(body, "stages");
  if (crash) {
    mem_auto char *reason = mem_format("%s %s while loading: it is quarantined until the file changes (or `stagemill "
                                       "plugins --refresh`)", path, crash);
    set_reason(r, PLUGIN_QUARANTINED, reason);
  } else if (!value_get_bool(body, "ok", false)) {
    set_reason(r, PLUGIN_REFUSED, value_get_text(body, "error", "it could not be loaded"));
  } else {
    set_reason(r, PLUGIN_LOADED, NULL);
    r->version = mem_text(value_get_text(body, "version", ""));
    r->license = mem_text(value_get_text(body, "license", ""));
    r->threads = (unsigned)value_get_int(body, "threads", 1);
    r->uses_libav = value_get_bool(body, "usesLibav", false);
  }
  value_map_set(c->known, path, entry_of(r, r->state == PLUGIN_LOADED ? stages : NULL));
}

static enum err load_unknown(struct catalogue *c, const char *const *paths, size_t count, struct error *e) {
  return testload_run(c->runner, paths, count, on_loaded, c, c->libraries, e);
}

/* Files that were not seen before, or have changed. Refused by their note alone: known, without being loaded. */
static size_t unknown_paths(struct catalogue *c, const struct value *cached, const char **paths) {
  size_t count = 0;
  for (size_t i = 0; i < c->count; i++) {
    struct plugin_record *r = &c->records[i];
    const struct value *entry = value_get(cached, r->path);
    bool admitted = judge(r);
    if (entry && is_fresh(r, entry)) {
      value_map_set(c->known, r->path, value_copy(entry));
      continue;
    }
    hash_file(r);
    if (admitted) paths[count++] = r->path;
    else value_map_set(c->known, r->path, entry_of(r, NULL));
  }
  return count;
}

static void take_known(struct catalogue *c) {
  for (size_t i = 0; i < c->count; i++) {
    struct plugin_record *r = find(c, c->found[i]);
    const struct value *entry = value_get(c->known, r->path);
    free(r->sha256); /* of the first look: the entry has them all */
    free(r->version);
    free(r->license);
    r->sha256 = r->version = r->license = NULL;
    if (entry) take_entry(c, r, entry);
    else set_reason(r, PLUGIN_REFUSED, "it could not be loaded");
  }
}

static bool same_plugins(const struct value *cached, const struct value *known) {
  if (cached->count != known->count) return false;
  for (size_t i = 0; i < known->count; i++)
    if (!value_get(cached, known->keys[i])) return false;
  return true;
}

static void save(struct catalogue *c, const struct catalogue_options *options) {
  mem_auto char *folder = mem_text(options->cache_path);
  char *slash = strrchr(folder, '/');
  if (slash && slash != folder) {
    *slash = '\0';
    if (fs_make_folders(folder, 0700, NULL)) return;
  }
  cache_save(options->cache_path, c->runner, value_copy(c->libraries), value_copy(c->known));
}

enum err catalogue_open(struct catalogue **catalogue, const struct catalogue_options *options, struct error *e) {
  struct catalogue *c = mem_alloc(sizeof(*c));
  c->runner = mem_text(options->runner_path);
  c->stages = stage_set_new();
  c->known = value_map();
  c->libraries = value_list();
  for (size_t i = 0; i < options->folder_count; i++) scan_folder(c, options->folders[i]);
  if (c->count) qsort(c->records, c->count, sizeof(*c->records), by_path);
  value_auto struct value *cached = options->refresh ? value_map() : cache_load(options->cache_path, c->runner, c->libraries);
  mem_auto const char **paths = mem_array(c->count + 1, sizeof(*paths));
  size_t unknown = unknown_paths(c, cached, paths);
  enum err err = ERR_OK;
  if (unknown) err = load_unknown(c, paths, unknown, e);
  if (err) {
    catalogue_close(&c);
    return err;
  }
  bool changed = unknown || !same_plugins(cached, c->known);
  take_known(c);
  if (options->cache_path && changed) save(c, options);
  value_free(&c->known);
  *catalogue = c;
  return ERR_OK;
}

void catalogue_close(struct catalogue **catalogue) {
  struct catalogue *c = *catalogue;
  if (!c) return;
  for (size_t i = 0; i < c->count; i++) {
    struct plugin_record *r = &c->records[i];
    for (size_t k = 0; k < r->stage_count; k++) free(r->stages[k]);
    free(r->stages);
    free(r->path);
    free(r->id);
    free(r->version);
    free(r->license);
    free(r->sha256);
    free(r->reason);
  }
  free(c->records);
  free(c->found);
  free(c->runner);
  value_free(&c->known);
  value_free(&c->libraries);
  stage_set_unref(&c->stages);
  free(c);
  *catalogue = NULL;
}

struct stage_set *catalogue_stages(struct catalogue *c) { return c->stages; }
size_t catalogue_count(const struct catalogue *c) { return c->count; }

const struct plugin_record *catalogue_at(const struct catalogue *c, size_t index) {
  return index < c->count ? &c->records[index] : NULL;
}

const struct plugin_record *catalogue_find(const struct catalogue *c, const char *plugin_path) {
  return find(c, plugin_path);
}
