/* catalogue.h - which plugins exist, what is in them, and why a refused one was refused.
 *
 * Notes are read and tested here (no code of a plugin runs in this process); loading happens in a runner's throw-away
 * child, all together first, singly when that dies. Cached by path, inode, size, mtime, runner build and libav versions:
 * a hit starts no process. */
#pragma once
#include <stdbool.h>

#include "base/error.h"
#include "base/stagetype.h"

enum plugin_state { PLUGIN_LOADED = 1, PLUGIN_REFUSED, PLUGIN_QUARANTINED };

struct plugin_record {
  char *path, *id, *version, *license, *sha256;
  uint16_t abi_major, abi_minor, lowest_host_minor;
  uint32_t avutil_version, avcodec_version;
  enum plugin_state state;
  char *reason;        /* refused or quarantined: the sentence with the cure; else NULL */
  unsigned threads;    /* more than one after loading: attempts are a fresh exec */
  bool uses_libav;     /* from the note or from what it pulled in */
  char **stages;
  size_t stage_count;
};

struct catalogue;
struct catalogue_options {
  const char *runner_path;      /* stagemill-runner */
  const char *const *folders;   /* searched in order; *.so, not recursive */
  size_t folder_count;
  const char *cache_path;       /* NULL: no cache */
  bool refresh;                 /* ignore the cache and lift quarantine */
};
enum err catalogue_open(struct catalogue **catalogue, const struct catalogue_options *options, struct error *e);
void catalogue_close(struct catalogue **catalogue);
struct stage_set *catalogue_stages(struct catalogue *catalogue); /* borrowed; stage_set_ref to keep */
size_t catalogue_count(const struct catalogue *catalogue);
const struct plugin_record *catalogue_at(const struct catalogue *catalogue, size_t index); /* sorted by path */
const struct plugin_record *catalogue_find(const struct catalogue *catalogue, const char *plugin_path);
