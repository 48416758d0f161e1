/* http_curl.h - private to http.c and http_curl.c: how an exchange becomes a curl handle. */
#pragma once
#include <curl/curl.h>

#include "common/http.h"

struct http_slot { /* one exchange under way */
  struct http_client *client;
  struct http_exchange *x;
  CURL *easy;
  struct curl_slist *headers;
  int64_t body_at;
  enum http_take take; /* 0: header not complete yet */
  bool forbidden, stopped, unread;
  char error[CURL_ERROR_SIZE];
  struct http_slot *next;
};

struct http_client {
  CURLM *multi;
  struct http_settings settings;
  char *ca_file;
  struct http_slot *slots;
  size_t running;
  bool sigpipe_was_blocked;
};

/* A configured handle, or NULL. */
CURL *http_curl_make(struct http_slot *slot);
/* Fills x->end, status, problem from curl's verdict. */
void http_curl_judge(struct http_slot *slot, CURLcode code);
