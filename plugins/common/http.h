/* http.h - HTTP requests through libcurl: several at a time on one thread, bounded in time, stopped within 100 ms.
 *
 *   client = http_open(settings)
 *   http_run(client, exchange)              one request, to its end
 *   http_start(client, exchange) ...        many at once; each `done` comes from http_wait
 *   http_wait(client, ms)
 *   http_close(&client)
 *
 * Only http and https, also when redirected; redirects are followed by follow.h alone. Certificates are always checked.
 * The calling thread has SIGPIPE blocked while a client is open. Not thread-safe: a client belongs to one thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/text.h"

enum http_end {
  HTTP_ANSWERED = 1, /* a whole answer came, whatever its status */
  HTTP_UNREACHABLE,  /* no connection: name, route, port, time */
  HTTP_BROKEN,       /* the connection ended before the answer did */
  HTTP_STALLED,      /* nothing moved for stall_s, or total time was over */
  HTTP_CANCELLED,    /* settings.cancelled said so */
  HTTP_STOPPED,      /* head() or sink() said stop */
  HTTP_UNTRUSTED,    /* certificate or TLS set-up */
  HTTP_FORBIDDEN,    /* an address that settings.networks does not allow */
  HTTP_IMPOSSIBLE,   /* bad URL or protocol, no memory: trying again cannot help */
};

/* Addresses that may be connected to, checked after resolution and right before connecting. */
enum http_networks {
  HTTP_ANY_NETWORK = 1,
  HTTP_PUBLIC_ONLY, /* no loopback, private, link-local, shared or multicast address; no proxy is used */
};

struct http_settings {
  const char *ca_file;     /* further trusted certificates; NULL: the system's */
  long connect_timeout_ms; /* 0: 10 s */
  long stall_s;            /* 0: 60 s below 1 byte/s */
  enum http_networks networks; /* 0: any */
  bool (*cancelled)(void *context); /* asked at least ten times a second; may be NULL */
  void *context;
};

enum http_take { HTTP_TAKE_SINK = 1, HTTP_TAKE_KEEP, HTTP_TAKE_STOP }; /* what to do with the body */

struct http_exchange {
  /* The request; borrowed until the end. */
  const char *method; /* "GET" */
  const char *url;
  const char *const *headers; /* "Name: value" */
  size_t header_count;
  const void *body;           /* from memory, or ... */
  int body_fd;                /* ... from a range of a file when has_body_fd */
  bool has_body_fd;
  off_t body_offset;
  int64_t body_size;
  long total_timeout_ms;      /* 0: none */
  long stall_s;               /* 0: the client's */
  bool public_only;           /* as HTTP_PUBLIC_ONLY, for this exchange */

  /* Called on the client's thread; may be NULL. */
  enum http_take (*head)(struct http_exchange *x); /* header is complete; NULL: 2xx goes to sink if there is one */
  bool (*sink)(struct http_exchange *x, const void *data, size_t size); /* false stops */
  void (*done)(struct http_exchange *x);
  void *context;
  size_t keep_limit; /* of kept bodies; more is dropped. 0: 64 KiB */

  /* The answer. */
  enum http_end end;
  long status;          /* 0: none */
  struct text header;   /* raw lines of the last answer */
  struct text kept;     /* body, if it was kept */
  int64_t sent, received;
  char problem[256];    /* clause for the operator: "the connection was refused"; empty when answered */
  char address[64];     /* of the peer, when known */
  bool address_public;

  struct http_slot *slot; /* private while running */
};

struct http_client;
struct http_client *http_open(const struct http_settings *settings); /* NULL: no memory */
/* Ends what still runs as cancelled, without calling done. */
void http_close(struct http_client **client);
/* False (x->end set, done not called) when it could not be started. */
bool http_start(struct http_client *client, struct http_exchange *x);
/* Ends what still runs as cancelled, without calling done; the client stays usable. */
void http_stop(struct http_client *client);
size_t http_running(const struct http_client *client);
/* Moves bytes for at most `ms`, returning sooner when something ended; done() of what ended is called from here.
 * False once cancelled: everything running has then ended as HTTP_CANCELLED (done called). */
bool http_wait(struct http_client *client, int ms);
/* One exchange to its end; others running in the client move along. */
enum http_end http_run(struct http_client *client, struct http_exchange *x);

/* Clears the answer of an exchange, for another go. */
void http_reset(struct http_exchange *x);
/* Value of an answer's header (case ignored) in out, or false; the last one when it is repeated. */
bool http_answer_header(const struct http_exchange *x, const char *name, char *out, size_t size);
/* Content-Length, or -1. */
int64_t http_length(const struct http_exchange *x);
/* Delay that Retry-After asks for in seconds (also as a date), 0 when absent. */
long http_retry_after_s(const struct http_exchange *x);
/* An answer that is worth another try: 408, 425, 429 and 5xx except 501 and 505; or no answer but BROKEN, STALLED, UNREACHABLE. */
bool http_is_transient(const struct http_exchange *x);
/* False for loopback, private, link-local, shared, documentation and multicast addresses, and IPv6 that carries one. */
struct sockaddr;
bool http_address_is_public(const struct sockaddr *address);
const char *http_answer_words(long status); /* "not found" */
