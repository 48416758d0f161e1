#include "cli/paths.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

static char *cut_last(char *path) {
  char *slash = strrchr(path, '/');
  if (slash) *slash = 0;
  return path;
}

static enum err find_prefix(char **prefix, struct error *e) {
  char path[PATH_MAX];
  ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
  if (size < 0) return error_errno(e, errno, "cannot find out where stagemill is installed: is /proc mounted?");
  path[size] = 0;
  *prefix = mem_text(cut_last(cut_last(path)));
  return ERR_OK;
}

static const char *environment(const char *name) {
  const char *value = getenv(name);
  return value && value[0] ? value : NULL;
}

/* `variable`/stagemill when set to an absolute path (as the XDG base directory specification wants it), else
 * $HOME/`below_home`/stagemill. */
static char *home_folder(const char *variable, const char *below_home) {
  const char *base = environment(variable), *home = environment("HOME");
  if (base && base[0] == '/') return mem_format("%s/stagemill", base);
  return home && home[0] == '/' ? mem_format("%s/%s/stagemill", home, below_home) : NULL;
}

static void add_folder(struct paths *paths, const char *folder, size_t size) {
  if (!size) return;
  mem_auto char *given = mem_text_n(folder, size);
  char *absolute = fs_absolute(NULL, given);
  for (size_t i = 0; i < paths->plugin_folder_count; i++)
    if (!strcmp(paths->plugin_folders[i], absolute)) {
      free(absolute);
      return;
    }
  paths->plugin_folders =
      mem_grow(paths->plugin_folders, paths->plugin_folder_count + 1, sizeof *paths->plugin_folders);
  paths->plugin_folders[paths->plugin_folder_count++] = absolute;
}

static void find_plugins(struct paths *paths) {
  const char *list = environment("STAGEMILL_PLUGIN_PATH");
  while (list) {
    const char *colon = strchr(list, ':');
    add_folder(paths, list, colon ? (size_t)(colon - list) : strlen(list));
    list = colon ? colon + 1 : NULL;
  }
  add_folder(paths, paths->plugins, strlen(paths->plugins));
}

enum err paths_find(struct paths *paths, struct error *e) {
  memset(paths, 0, sizeof *paths);
  enum err err = find_prefix(&paths->prefix, e);
  if (err) return err;
  const char *prefix = paths->prefix;
  paths->runner = mem_format("%s/libexec/stagemill/stagemill-runner", prefix);
  paths->pass_module = mem_format("%s/lib/stagemill/pass.so", prefix);
  paths->plugins = mem_format("%s/lib/stagemill/plugins", prefix);
  paths->share = mem_format("%s/share/stagemill", prefix);
  paths->pipelines = mem_format("%s/pipelines", paths->share);
  find_plugins(paths);
  paths->cache_folder = home_folder("XDG_CACHE_HOME", ".cache");
  if (!paths->cache_folder) paths->cache_folder = mem_text("/var/cache/stagemill");
  paths->catalogue_cache = mem_format("%s/catalogue", paths->cache_folder);
  paths->state_home = home_folder("XDG_STATE_HOME", ".local/state");
  paths->system_state = mem_text("/var/lib/stagemill");
  return ERR_OK;
}

void paths_clear(struct paths *paths) {
  for (size_t i = 0; i < paths->plugin_folder_count; i++) free(paths->plugin_folders[i]);
  free(paths->plugin_folders);
  free(paths->prefix);
  free(paths->runner);
  free(paths->pass_module);
  free(paths->plugins);
  free(paths->share);
  free(paths->pipelines);
  free(paths->cache_folder);
  free(paths->catalogue_cache);
  free(paths->state_home);
  free(paths->system_state);
  memset(paths, 0, sizeof *paths);
}

bool paths_make_cache(const struct paths *paths) {
  struct error ignored = {0};
  return fs_make_folders(paths->cache_folder, 0700, &ignored) == ERR_OK && !access(paths->cache_folder, W_OK);
}

char *paths_pipeline(const struct paths *paths, const char *word) {
  if (!strchr(word, '/') && access(word, F_OK)) {
    mem_auto char *shipped = mem_format("%s/%s.yaml", paths->pipelines, word);
    if (!access(shipped, R_OK)) return mem_text(shipped);
    mem_auto char *exact = mem_format("%s/%s", paths->pipelines, word);
    if (!access(exact, R_OK) && word[0]) return mem_text(exact);
  }
  return mem_text(word);
}

static int is_pipeline(const struct dirent *entry) {
  const char *dot = strrchr(entry->d_name, '.');
  return dot && dot > entry->d_name && !strcmp(dot, ".yaml");
}

void paths_shipped(const struct paths *paths, const char *between, struct buf *out) {
  struct dirent **entries = NULL;
  int count = scandir(paths->pipelines, &entries, is_pipeline, alphasort);
  for (int i = 0; i < count; i++) {
    const char *name = entries[i]->d_name;
    buf_format(out, "%s%.*s", i ? between : "", (int)(strrchr(name, '.') - name), name);
    free(entries[i]);
  }
  free(entries);
}
