/* begin.h - the callbacks that server.c hands to civetweb. */
#pragma once
#include "http/parts.h"

extern _Thread_local struct http_server *http_server_starting; /* civetweb has no connection to name before it runs */

int begin_request(struct mg_connection *connection);
void begin_end_request(const struct mg_connection *connection, int status);
int begin_http_error(struct mg_connection *connection, int status, const char *message);
int begin_log_message(const struct mg_connection *connection, const char *message);
int begin_log_access(const struct mg_connection *connection, const char *message);
void *begin_thread(const struct mg_context *civetweb, int type);
void begin_exit_thread(const struct mg_context *civetweb, int type, void *slot);
int begin_connection(const struct mg_connection *connection, void **data);
void begin_close(const struct mg_connection *connection);
