#include "common/http.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/http_curl.h"

enum { POLL_MS = 100 };

static bool block_sigpipe(bool block) {
  sigset_t one, old;
  sigemptyset(&one);
  sigaddset(&one, SIGPIPE);
  pthread_sigmask(block ? SIG_BLOCK : SIG_UNBLOCK, &one, &old);
  return sigismember(&old, SIGPIPE) == 1;
}

struct http_client *http_open(const struct http_settings *settings) {
  struct http_client *client = calloc(1, sizeof *client);
  if (!client) return NULL;
  client->settings = *settings;
  if (settings->ca_file) client->settings.ca_file = client->ca_file = strdup(settings->ca_file);
  if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) client->multi = curl_multi_init();
  if (!client->multi || (settings->ca_file && !client->ca_file)) {
    if (client->multi) curl_multi_cleanup(client->multi);
    free(client->ca_file);
    free(client);
    return NULL;
  }
  client->sigpipe_was_blocked = block_sigpipe(true);
  return client;
}

/* Takes the exchange out of curl and of the list; x->end is set by the caller. */
static void release(struct http_slot *slot) {
  struct http_client *client = slot->client;
  for (struct http_slot **at = &client->slots; *at; at = &(*at)->next) {
    if (*at != slot) continue;
    *at = slot->next;
    client->running--;
    break;
  }
  if (slot->easy) {
    curl_multi_remove_handle(client->multi, slot->easy);
    curl_easy_cleanup(slot->easy);
  }
  curl_slist_free_all(slot->headers);
  slot->x->slot = NULL;
  free(slot);
}

static void cancel_all(struct http_client *client, bool tell) {
  while (client->slots) {
    struct http_exchange *x = client->slots->x;
    x->end = HTTP_CANCELLED;
    snprintf(x->problem, sizeof x->problem, "it was cancelled");
    release(client->slots);
    if (tell && x->done) x->done(x);
  }
}

void http_close(struct http_client **client) {
  if (!*client) return;
  cancel_all(*client, false);
  curl_multi_cleanup((*client)->multi);
  if (!(*client)->sigpipe_was_blocked) block_sigpipe(false);
  free((*client)->ca_file);
  free(*client);
  *client = NULL;
}

bool http_start(struct http_client *client, struct http_exchange *x) {
  http_reset(x);
  struct http_slot *slot = calloc(1, sizeof *slot);
  if (slot) {
    *slot = (struct http_slot){.client = client, .x = x, .next = client->slots};
    client->slots = slot;
    client->running++;
    x->slot = slot;
    if (http_curl_make(slot) && curl_multi_add_handle(client->multi, slot->easy) == CURLM_OK) return true;
    release(slot);
  }
  x->end = HTTP_IMPOSSIBLE;
  snprintf(x->problem, sizeof x->problem, "the request could not be set up");
  return false;
}

void http_stop(struct http_client *client) { cancel_all(client, false); }

size_t http_running(const struct http_client *client) { return client->running; }

/* Calls done() of everything that has ended; true when anything had. */
static bool collect(struct http_client *client) {
  bool any = false;
  CURLMsg *message;
  int left;
  while ((message = curl_multi_info_read(client->multi, &left))) {
    if (message->msg != CURLMSG_DONE) continue;
    struct http_slot *slot = NULL;
    CURLcode code = message->data.result;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&slot);
    struct http_exchange *x = slot->x;
    http_curl_judge(slot, code);
    release(slot);
    any = true;
    if (x->done) x->done(x);
  }
  return any;
}

bool http_wait(struct http_client *client, int ms) {
  for (;;) {
    if (client->settings.cancelled && client->settings.cancelled(client->settings.context))
      return cancel_all(client, true), false;
    int running;
    curl_multi_perform(client->multi, &running);
    if (collect(client) || ms <= 0) return true;
    int step = ms < POLL_MS ? ms : POLL_MS;
    curl_multi_poll(client->multi, NULL, 0, step, NULL);
    ms -= step;
  }
}

enum http_end http_run(struct http_client *client, struct http_exchange *x) {
  if (!http_start(client, x)) return x->end;
  while (x->slot) http_wait(client, 1000);
  return x->end;
}

void http_reset(struct http_exchange *x) {
  text_free(&x->header);
  text_free(&x->kept);
  x->end = 0;
  x->status = 0;
  x->sent = x->received = 0;
  x->problem[0] = x->address[0] = '\0';
  x->address_public = false;
}

bool http_answer_header(const struct http_exchange *x, const char *name, char *out, size_t size) {
  size_t length = strlen(name);
  bool found = false;
  for (const char *line = text_string(&x->header); *line;) {
    size_t end = strcspn(line, "\r\n");
    if (end > length && strncasecmp(line, name, length) == 0 && line[length] == ':') {
      const char *value = line + length + 1;
      while (*value == ' ' || *value == '\t') value++;
      size_t bytes = (size_t)(line + end - value);
      while (bytes && (value[bytes - 1] == ' ' || value[bytes - 1] == '\t')) bytes--;
      found = (size_t)snprintf(out, size, "%.*s", (int)bytes, value) < size;
    }
    line += end + strspn(line + end, "\r\n");
  }
  return found;
}

int64_t http_length(const struct http_exchange *x) {
  char value[32], *end;
  if (!http_answer_header(x, "Content-Length", value, sizeof value) || !isdigit((unsigned char)value[0])) return -1;
  long long length = strtoll(value, &end, 10);
  return *end ? -1 : (int64_t)length;
}

long http_retry_after_s(const struct http_exchange *x) {
  char value[64], *end;
  if (!http_answer_header(x, "Retry-After", value, sizeof value)) return 0;
  long seconds = strtol(value, &end, 10);
  if (*end) {
    time_t at = curl_getdate(value, NULL);
    seconds = at > 0 ? (long)(at - time(NULL)) : 0;
  }
  return seconds > 0 ? seconds : 0;
}

bool http_is_transient(const struct http_exchange *x) {
  if (x->end == HTTP_UNREACHABLE || x->end == HTTP_BROKEN || x->end == HTTP_STALLED) return true;
  if (x->end != HTTP_ANSWERED && x->end != HTTP_STOPPED) return false;
  if (x->status == 408 || x->status == 425 || x->status == 429) return true;
  return x->status >= 500 && x->status < 600 && x->status != 501 && x->status != 505;
}

const char *http_answer_words(long status) {
  switch (status) {
  case 400: return "bad request";
  case 401: return "credentials needed";
  case 403: return "access denied";
  case 404: return "not found";
  case 405: return "method not allowed";
  case 408: return "request timed out";
  case 410: return "gone";
  case 416: return "range not satisfiable";
  case 429: return "too many requests";
  case 500: return "internal server error";
  case 502: return "bad gateway";
  case 503: return "service unavailable";
  case 504: return "gateway timed out";
  default: return status >= 500 ? "server error" : status >= 400 ? "refused" : status >= 300 ? "redirect" : "answer";
  }
}
