/* post.h - a store, the notifier, and a real server that hears it: what tests of webhooks and mail stand on. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include "base/value.h"
#include "service/notify.h"

struct receiver {
  pid_t pid;
  int in, out, port;
  char text[65536]; /* read, not yet taken */
  size_t size;
};
void receiver_start(struct receiver *r, const char *const *args); /* behind receivers.py; NULL ends */
void receiver_stop(struct receiver *r);
struct value *receiver_next(struct receiver *r, int wait_ms); /* the next thing it heard; NULL: nothing came */

struct post {
  char folder[64];
  struct store *store;
  struct settings_holder *settings;
  struct notify *notify;
  struct receiver receiver;
};
int post_begin(void **state);
int post_end(void **state);
/* pairs: "webhooks.urls", "http://...", ..., NULL */
void post_settings(struct post *p, const char *const *pairs);
void post_open(struct post *p); /* the notifier; its first delay is 50 ms */
void post_close(struct post *p);
/* A job with `extra` (may be NULL) that ends with an event of this type. */
void post_job(struct post *p, char id[STORE_ID_MAX], const char *extra, const char *event, const char *body);
/* The job's only delivery once it is in this state; fails after 10 s. */
struct value *post_delivery(struct post *p, const char *job, const char *state);
size_t post_count(struct post *p, const char *job);
