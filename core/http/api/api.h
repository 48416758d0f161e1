/* api.h - the JSON API of the daemon: every path below /api/v1, and /openapi.json. A resource is a file (api_NAME.c) with
 * a table of routes; web/openapi.json says what each takes and answers, and a test holds the two together. */
#pragma once

struct http_server;
/* All tables, before http_server_start. The server's context is the struct service. */
void api_routes(struct http_server *server);
