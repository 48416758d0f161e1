/* names.h - file names of segments and playlists, and how one refers to another (RFC 3986 relative references). */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define NAMES_MAX 256

/* What stands for {name}: the source's base name without its extension, with everything that needs care in a URL, a
 * shell or an object store replaced by '_'. Never empty. */
void names_stem(const char *source, char stem[NAMES_MAX]);

/* Expands {name}, {rendition} and {index} (three digits, more when needed; negative: "init", and .mp4 for .m4s). False:
 * too long, or a placeholder that does not exist. */
bool names_expand(const char *pattern, const char *name, const char *rendition, long index, char out[NAMES_MAX]);

/* NULL, or the sentence about what is wrong with a pattern. segment: it must hold {index}, in its last component. many:
 * several renditions share it, so that it must hold {rendition}. */
const char *names_check(const char *pattern, bool segment, bool many);

/* Length of the folder part, with its slash; 0 when there is none. */
size_t names_folder(const char *path);

/* How the file `from` refers to the file `to`, percent-encoded. Both are relative to the same folder. */
bool names_reference(const char *from, const char *to, char *out, size_t size);

/* True when `path` ends in `extension` (".ts"). */
bool names_has_extension(const char *path, const char *extension);
