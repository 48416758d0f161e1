/* plugin.h - loading a plugin into this process: its note is judged first, then dlopen, then its tables are copied out
 * row by row in the stride it was compiled with. Never unloaded. */
#pragma once
#include <stagemill/abi.h>
#include <stdbool.h>

#include "base/error.h"
#include "wire/note.h"

struct plugin {
  char *path;
  struct note note;
  void *handle;
  const sm_plugin *symbol;
  sm_stage *stages; /* this build's layout, tables included; absent fields zero; ended by a NULL name */
  size_t stage_count;
  bool uses_libav;      /* says so, or pulled it in */
  unsigned new_threads; /* threads that run since it was loaded */
};

/* Loads it for good. Errors name file and cure; nothing of a refused plugin has run unless it is the symbol or a table
 * that is refused. */
enum err plugin_load(const char *path, struct plugin **plugin, struct error *e);
const sm_stage *plugin_stage(const struct plugin *p, const char *name); /* NULL when absent */

/* Environment that keeps libraries from opening threads of their own while they load. Once, before the first load. */
void plugin_prepare(void);
/* Threads of this process that are not its own (sanitizers' are discounted by counting once before). */
unsigned plugin_thread_count(void);
/* The libav in this process, loading libavutil when `needed` and not there yet. */
void plugin_libav(struct note_host *host, bool needed, bool codec_needed);
