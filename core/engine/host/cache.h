/* cache.h - what is known of plugins that have not changed since they were last loaded.
 *
 * One packed value: {format, runner: identity, libraries: {path: identity}, plugins: {path: {id: identity, ...}}}. An
 * identity is device, inode, size and modification time of a file. Anything unexpected in it is as good as no cache. */
#pragma once
#include <stdbool.h>

#include "base/error.h"
#include "base/value.h"

/* "dev:inode:size:mtime" of a file, owned; NULL when it is not there. */
char *cache_identity(const char *path);
/* The plugins map (owned) if the cache is there and runner and libraries are still the same; else an empty map.
 * libraries: a list that gets the paths of those libraries. */
struct value *cache_load(const char *path, const char *runner, struct value *libraries);
/* Moves both maps in. Failing to write costs the next start some time, nothing else. */
void cache_save(const char *path, const char *runner, struct value *libraries, struct value *plugins);
