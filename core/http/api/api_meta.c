/* api_meta.c - the description of this API. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "api/parts.h"
#include "base/mem.h"

static void openapi_get(struct exchange *x) {
  mem_auto char *path = mem_format("%s/web/openapi.json", api_service(x)->share_folder);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    http_problem(x, 404, "not-found", "the description of the API is not installed (%s: %s)", "share/stagemill/web/openapi.json",
                 strerror(errno));
    return;
  }
  http_set_header(x, "Cache-Control", "no-cache");
  http_file(x, fd, "application/json", NULL, NULL);
}

static const struct route routes[] = {
    {"GET", "/openapi.json", 0, ROUTE_OPEN, openapi_get, "getDescription"},
};
const struct api_table api_meta = API_TABLE(routes);
