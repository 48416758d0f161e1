#include "runner/plugin.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "runner/table.h"

void plugin_prepare(void) {
  setenv("OPENBLAS_NUM_THREADS", "1", 1);
  setenv("OMP_NUM_THREADS", "1", 1);
}

unsigned plugin_thread_count(void) {
  DIR *folder = opendir("/proc/self/task");
  if (!folder) return 1;
  unsigned count = 0;
  for (struct dirent *entry; (entry = readdir(folder));) count += entry->d_name[0] != '.';
  closedir(folder);
  return count;
}

/* ---- libav at run time; this executable links none of it ---- */

static uint32_t library_version(const char *soname, const char *function) {
  void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
  if (!library) return 0;
  unsigned (*version)(void);
  *(void **)&version = dlsym(library, function);
  return version ? version() : 0;
}

void plugin_libav(struct note_host *host, bool needed, bool codec_needed) {
  static uint32_t avutil, avcodec;
  if (needed && !avutil) avutil = library_version(STAGEMILL_AVUTIL_SONAME, "avutil_version");
  if (codec_needed && !avcodec) avcodec = library_version(STAGEMILL_AVCODEC_SONAME, "avcodec_version");
  host->abi_major = SM_ABI_MAJOR;
  host->abi_minor = SM_ABI_MINOR;
  host->libav_known = true;
  host->avutil_version = avutil;
  host->avcodec_version = avcodec;
}

/* ---- the symbol against the note ---- */

static enum err disagrees(const struct plugin *p, const char *what, struct error *e) {
  return error_set(e, ERR_INVALID, "%s: its note and its symbol stagemill_plugin disagree about %s: rebuild the plugin",
                   p->path, what);
}

static bool stride_is_sane(uint32_t stride) {
  return stride >= sizeof(void *) && stride <= TABLE_STRIDE_MAX && stride % sizeof(void *) == 0;
}

static enum err check_symbol(const struct plugin *p, struct error *e) {
  const sm_plugin *s = p->symbol;
  if (s->size < sizeof(sm_plugin) || s->size > TABLE_STRIDE_MAX)
    return error_set(e, ERR_INVALID, "%s: its symbol stagemill_plugin has %u bytes instead of at least %zu: rebuild the "
                     "plugin", p->path, s->size, sizeof(sm_plugin));
  if (s->abi_major != p->note.abi_major || s->abi_minor != p->note.abi_minor) return disagrees(p, "the ABI version", e);
  if (s->lowest_host_minor != p->note.lowest_host_minor) return disagrees(p, "the lowest host version", e);
  if (!s->id || strcmp(s->id, p->note.id) != 0) return disagrees(p, "the id", e);
  if (!stride_is_sane(s->stage_size) || !stride_is_sane(s->param_size) || !stride_is_sane(s->port_size) ||
      !stride_is_sane(s->result_size))
    return error_set(e, ERR_INVALID, "%s: the sizes of its table rows (%u, %u, %u, %u) are impossible: rebuild the "
                     "plugin", p->path, s->stage_size, s->param_size, s->port_size, s->result_size);
  if (!s->version || !s->license || !s->stages)
    return error_set(e, ERR_INVALID, "%s: its symbol lacks a version, a license or stages: rebuild the plugin", p->path);
  return ERR_OK;
}

/* ---- loading ---- */

static void plugin_free(struct plugin **p) { /* only one that was refused: what is mapped stays mapped */
  free((*p)->path);
  free((*p)->stages);
  free(*p);
  *p = NULL;
}

static enum err open_plugin(struct plugin *p, struct error *e) {
  unsigned before = plugin_thread_count();
  /* RTLD_LOCAL: plugins do not see each other's symbols. Never dlclose: threads and pointers may outlive any use. */
  p->handle = dlopen(p->path, RTLD_NOW | RTLD_LOCAL);
  if (!p->handle) {
    const char *why = dlerror();
    return error_set(e, ERR_INVALID, "%s cannot be loaded: %s: install what it needs, or rebuild it", p->path,
                     why ? why : "unknown reason");
  }
  unsigned after = plugin_thread_count();
  p->new_threads = after > before ? after - before : 0;
  p->uses_libav = p->note.avutil_version || dlsym(p->handle, "avutil_version");
  p->symbol = dlsym(p->handle, "stagemill_plugin");
  if (!p->symbol)
    return error_set(e, ERR_INVALID, "%s: exports no symbol stagemill_plugin: rebuild it with SM_PLUGIN and default "
                     "visibility for that symbol", p->path);
  return ERR_OK;
}

enum err plugin_load(const char *path, struct plugin **plugin, struct error *e) {
  struct plugin *p = mem_alloc(sizeof(*p));
  p->path = mem_text(path);
  enum err err = note_read(path, &p->note, e);
  struct note_host host;
  if (!err) {
    plugin_libav(&host, p->note.avutil_version != 0, p->note.avcodec_version != 0);
    err = note_judge(&p->note, &host, path, e);
  }
  if (!err) err = open_plugin(p, e);
  if (!err) err = check_symbol(p, e);
  if (!err) err = table_stages(p->symbol, path, &p->stages, &p->stage_count, e);
  if (err) {
    plugin_free(&p);
    return err;
  }
  *plugin = p;
  return ERR_OK;
}

const sm_stage *plugin_stage(const struct plugin *p, const char *name) {
  for (size_t i = 0; i < p->stage_count; i++)
    if (strcmp(p->stages[i].name, name) == 0) return &p->stages[i];
  return NULL;
}
