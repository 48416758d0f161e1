/* note.h - the ELF note of a plugin, read as bounded, untrusted input before any of its code runs, and the law of
 * compatibility that decides from it. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct note {
  uint16_t abi_major, abi_minor, lowest_host_minor;
  uint32_t avutil_version, avcodec_version; /* LIBAV*_VERSION_INT the plugin was compiled with; 0: not used */
  char id[64];
};

/* What the judge holds the note against. */
struct note_host {
  uint16_t abi_major, abi_minor;
  bool libav_known;                         /* false: libav is not judged here (the loading child does it) */
  uint32_t avutil_version, avcodec_version; /* at run time; 0: not installed */
};

/* Reads the note of the shared object at `path` without loading it. ERR_INVALID: no plugin, no note, or a malformed
 * one (the sentence says which); ERR_IO, ERR_NOT_FOUND. */
enum err note_read(const char *path, struct note *note, struct error *e);
/* ERR_VERSION with file, both versions and the cure when this host must not load the plugin. */
enum err note_judge(const struct note *note, const struct note_host *host, const char *path, struct error *e);
