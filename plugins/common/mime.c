#include "common/mime.h"

#include <string.h>
#include <strings.h>

/* IANA's registry, and RFC 8216 4 for the HLS types. The first row of a type gives its preferred extension. */
static const struct {
  const char *extension, *type;
} rows[] = {
  {".m3u8", "application/vnd.apple.mpegurl"},
  {".m3u", "application/vnd.apple.mpegurl"},
  {".mpd", "application/dash+xml"},
  {".ts", "video/mp2t"},
  {".m2ts", "video/mp2t"},
  {".m4s", "video/iso.segment"},
  {".mp4", "video/mp4"},
  {".m4v", "video/mp4"},
  {".cmfv", "video/mp4"},
  {".m4a", "audio/mp4"},
  {".cmfa", "audio/mp4"},
  {".mov", "video/quicktime"},
  {".webm", "video/webm"},
  {".mkv", "video/x-matroska"},
  {".avi", "video/x-msvideo"},
  {".flv", "video/x-flv"},
  {".mpg", "video/mpeg"},
  {".mpeg", "video/mpeg"},
  {".3gp", "video/3gpp"},
  {".ogv", "video/ogg"},
  {".mxf", "application/mxf"},
  {".aac", "audio/aac"},
  {".mp3", "audio/mpeg"},
  {".wav", "audio/wav"},
  {".flac", "audio/flac"},
  {".ogg", "audio/ogg"},
  {".opus", "audio/ogg"},
  {".jpg", "image/jpeg"},
  {".jpeg", "image/jpeg"},
  {".png", "image/png"},
  {".gif", "image/gif"},
  {".webp", "image/webp"},
  {".avif", "image/avif"},
  {".svg", "image/svg+xml"},
  {".json", "application/json"},
  {".vtt", "text/vtt"},
  {".srt", "application/x-subrip"},
  {".txt", "text/plain"},
  {".html", "text/html"},
  {".css", "text/css"},
  {".js", "text/javascript"},
  {".xml", "application/xml"},
  {".pdf", "application/pdf"},
  {".zip", "application/zip"},
  {".gz", "application/gzip"},
  {".tar", "application/x-tar"},
};

const char *mime_of_name(const char *name) {
  const char *slash = strrchr(name, '/');
  const char *dot = strrchr(slash ? slash : name, '.');
  for (size_t i = 0; dot && i < sizeof rows / sizeof *rows; i++)
    if (strcasecmp(dot, rows[i].extension) == 0) return rows[i].type;
  return "application/octet-stream";
}

const char *mime_extension(const char *type) {
  size_t size = strcspn(type, "; \t");
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (strlen(rows[i].type) == size && strncasecmp(type, rows[i].type, size) == 0) return rows[i].extension;
  return "";
}

bool mime_is_playlist(const char *type) {
  size_t size = strcspn(type, "; \t");
  static const char *const types[] = {"application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl",
                                      "audio/x-mpegurl", "application/dash+xml"};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (strlen(types[i]) == size && strncasecmp(type, types[i], size) == 0) return true;
  return false;
}
