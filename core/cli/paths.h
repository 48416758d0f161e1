/* paths.h - where the parts lie, relative to this executable: bin/stagemill, libexec/stagemill, lib/stagemill,
 * share/stagemill, alike in the build tree and under any prefix. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"

struct paths {
  char *prefix;          /* the folder above bin */
  char *runner;          /* libexec/stagemill/stagemill-runner */
  char *pass_module;     /* lib/stagemill/pass.so */
  char *plugins;         /* lib/stagemill/plugins */
  char *share;           /* share/stagemill */
  char *pipelines;       /* share/stagemill/pipelines */
  char **plugin_folders; /* STAGEMILL_PLUGIN_PATH (colon-separated) in its order, then `plugins`: the first to bring a
                            stage name keeps it */
  size_t plugin_folder_count;
  char *cache_folder;    /* $XDG_CACHE_HOME/stagemill, ~/.cache/stagemill, or /var/cache/stagemill without a home */
  char *catalogue_cache; /* the catalogue's cache file in it; the folder is made on demand */
  char *state_home;      /* $XDG_STATE_HOME/stagemill, ~/.local/state/stagemill; NULL without a home */
  char *system_state;    /* /var/lib/stagemill */
};

enum err paths_find(struct paths *paths, struct error *e);
void paths_clear(struct paths *paths);
/* Makes the cache folder (0700); false when there is no place for one: then nothing is cached. */
bool paths_make_cache(const struct paths *paths);
/* The file a PIPELINE operand means: the path itself, or, for a bare name that is no file here, the pipeline of that
 * name that ships (`vod`: share/stagemill/pipelines/vod.yaml). malloc'ed, never NULL. */
char *paths_pipeline(const struct paths *paths, const char *word);
/* The names of the pipelines that ship, in order, with `between` between them. */
void paths_shipped(const struct paths *paths, const char *between, struct buf *out);
