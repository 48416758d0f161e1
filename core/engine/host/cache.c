#include "host/cache.h"

#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"

enum { CACHE_MAX = 64 << 20, FORMAT = 1 };

char *cache_identity(const char *path) {
  struct stat st;
  if (stat(path, &st) != 0) return NULL;
  return mem_format("%llx:%llx:%llx:%llx.%lx", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
                    (unsigned long long)st.st_size, (unsigned long long)st.st_mtim.tv_sec,
                    (unsigned long)st.st_mtim.tv_nsec);
}

static bool still_is(const char *path, const struct value *identity) {
  mem_auto char *now = cache_identity(path);
  return now && identity && identity->type == VALUE_TEXT && strcmp(now, identity->text) == 0;
}

static bool is_current(const struct value *cache, const char *runner) {
  const struct value *libraries = value_get(cache, "libraries");
  if (value_get_int(cache, "format", 0) != FORMAT || !still_is(runner, value_get(cache, "runner"))) return false;
  if (!libraries || libraries->type != VALUE_MAP) return false;
  for (size_t i = 0; i < libraries->count; i++)
    if (!still_is(libraries->keys[i], libraries->items[i])) return false;
  return true;
}

struct value *cache_load(const char *path, const char *runner, struct value *libraries) {
  buf_auto struct buf text = {0};
  value_auto struct value *cache = NULL;
  if (!path || fs_read_file(path, CACHE_MAX, &text, NULL) || value_unpack(text.data, text.size, &cache, NULL))
    return value_map();
  const struct value *plugins = is_current(cache, runner) ? value_get(cache, "plugins") : NULL;
  if (!plugins || plugins->type != VALUE_MAP) return value_map();
  const struct value *paths = value_get(cache, "libraries");
  for (size_t i = 0; i < paths->count; i++) value_list_add(libraries, value_text(paths->keys[i]));
  return value_copy(plugins);
}

static struct value *identities(const struct value *paths) {
  struct value *map = value_map();
  for (size_t i = 0; i < paths->count; i++) {
    mem_auto char *identity = paths->items[i]->type == VALUE_TEXT ? cache_identity(paths->items[i]->text) : NULL;
    if (identity) value_set_text(map, paths->items[i]->text, identity);
  }
  return map;
}

void cache_save(const char *path, const char *runner, struct value *libraries, struct value *plugins) {
  value_auto struct value *cache = value_map();
  buf_auto struct buf packed = {0};
  struct error e;
  mem_auto char *runner_identity = cache_identity(runner);
  value_set_int(cache, "format", FORMAT);
  value_set_text(cache, "runner", runner_identity);
  value_map_set(cache, "libraries", identities(libraries));
  value_map_set(cache, "plugins", plugins);
  value_free(&libraries);
  value_pack(&packed, cache);
  if (fs_write_durably(path, packed.data, packed.size, 0600, &e)) log_debug("the plugin cache was not written: %s", e.message);
}
