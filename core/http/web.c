/* web.c - the folder of web pages under "/": open to everybody, as it holds no data. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "http/parts.h"

static const struct {
  const char *ending, *type;
} types[] = {
    {".html", "text/html; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".mjs", "text/javascript; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".json", "application/json"},
    {".map", "application/json"},
    {".webmanifest", "application/manifest+json"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".jpg", "image/jpeg"},
    {".webp", "image/webp"},
    {".gif", "image/gif"},
    {".ico", "image/x-icon"},
    {".woff2", "font/woff2"},
    {".wasm", "application/wasm"},
    {".mp4", "video/mp4"},
    {".m3u8", "application/vnd.apple.mpegurl"},
    {".ts", "text/plain; charset=utf-8"}, /* types of the client library, not media */
    {".md", "text/plain; charset=utf-8"},
    {".txt", "text/plain; charset=utf-8"},
};

/* Pages run only scripts of ours. Media, uploads and results may lie with a storage or CDN of any name. */
static const char page_policy[] =
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob: http: https:; "
    "media-src 'self' blob: http: https:; connect-src 'self' http: https: ws: wss:; worker-src 'self' blob:; "
    "object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

static const char *type_of(const char *path) {
  const char *ending = strrchr(path, '.');
  for (size_t i = 0; ending && i < sizeof(types) / sizeof(*types); i++)
    if (strcmp(types[i].ending, ending) == 0) return types[i].type;
  return "application/octet-stream";
}

/* Never out of the folder, and nothing hidden. */
static int open_beneath(int folder, const char *path) {
  if (*path == '.' || strstr(path, "/.") || strstr(path, "//")) return -1;
  return fs_open_beneath(folder, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, NULL);
}

static int open_page(struct exchange *x, const char *path, const char **type) {
  size_t size = strlen(path);
  if (size > 1024) return -1;
  char *mem_auto name = size == 0 || path[size - 1] == '/' ? mem_format("%sindex.html", path) : mem_text(path);
  *type = type_of(name);
  return open_beneath(x->server->web_fd, name);
}

bool web_serve(struct exchange *x) {
  bool get = x->head || strcmp(x->info->request_method, "GET") == 0;
  if (x->server->web_fd < 0 || !get || *x->path != '/' || strncmp(x->path, "/api/", 5) == 0) return false;
  const char *type;
  fd_auto int fd = open_page(x, x->path + 1, &type);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0) return false;
  if (S_ISDIR(st.st_mode)) {
    char *mem_auto there = mem_format("%s/", x->info->local_uri_raw);
    if (strncmp(there, "//", 2) == 0) return false; /* would name another host */
    http_set_header(x, "Location", there);
    http_empty(x, 308);
    return true;
  }
  http_set_header(x, "Content-Security-Policy", page_policy);
  http_set_header(x, "Cache-Control", "no-cache");
  http_set_header(x, "Cross-Origin-Opener-Policy", "same-origin");
  http_set_header(x, "Permissions-Policy", "camera=(), microphone=(), geolocation=()");
  int moved = fd;
  fd = -1;
  http_file(x, moved, type, NULL, NULL);
  return true;
}
