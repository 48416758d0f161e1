/* mime.h - media types by file name, and the small grammar around them. */
#pragma once
#include <stddef.h>
#include <stdbool.h>

/* Type by extension, any case; "application/octet-stream" when unknown. Never NULL. */
const char *mime_of_name(const char *name);
/* Preferred extension with its dot (".mp4"), "" when unknown. Parameters behind ";" are ignored. */
const char *mime_extension(const char *type);
/* True for HLS and DASH playlists: what must appear after the files it names. */
bool mime_is_playlist(const char *type);
