/* notify_webhook.c - the courier: posts envelopes, several at a time, never too many to one host, and never follows a
 * redirect: what was signed for one address is not for another. */
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "common/http.h"
#include "common/url.h"
#include "service/notify_parts.h"

enum { SLOTS = 32, PER_HOST = 4, HEADERS = 5, ANSWER_KEPT = 1024, TURN_MS = 100, LOOK_APART_US = 20000 };

struct parcel { /* one that is being sent; kind 0: free */
  struct delivery delivery;
  struct http_exchange exchange;
  struct buf body;
  char *headers[HEADERS];
  char *host;
  bool over;
};

struct courier {
  struct notify *notify;
  struct http_client *client;
  struct parcel parcels[SLOTS];
  bool crowded; /* something due had to be passed over */
};

static void parcel_clear(struct parcel *p) {
  text_free(&p->exchange.header);
  text_free(&p->exchange.kept);
  for (size_t i = 0; i < HEADERS; i++) free(p->headers[i]);
  buf_free(&p->body);
  free(p->host);
  delivery_clear(&p->delivery);
  *p = (struct parcel){0};
}

/* ---- what goes out
 * ------------------------------------------------------------------------------------------------------------ */

/* v1=HEX of HMAC-SHA256(secret, timestamp "." body): the receiver can refuse what is forged, and what is old. */
static char *signature(const char *secret, const char *timestamp, const struct buf *body) {
  unsigned char mac[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  struct buf buf_auto signed_text = {0}, out = {0};
  buf_format(&signed_text, "%s.", timestamp);
  buf_add(&signed_text, body->data, body->size);
  if (!HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)signed_text.data, signed_text.size, mac,
            &size))
    return NULL;
  buf_text(&out, "v1=");
  for (unsigned i = 0; i < size; i++) buf_format(&out, "%02x", mac[i]);
  return buf_take(&out);
}

/* A secret that is named but not known: an unsigned request would be taken for a forged one. */
static bool sign(struct courier *c, struct parcel *p, const char *timestamp, struct sending *s) {
  const struct settings *settings = settings_hold(c->notify->options.settings);
  mem_auto char *name = mem_text(p->delivery.secret ? p->delivery.secret : settings->webhooks.secret);
  settings_release(c->notify->options.settings, &settings);
  if (!name || !*name) return true; /* nobody asked for signatures */
  char *secret = notify_secret(c->notify, name);
  mem_auto char *mac = secret ? signature(secret, timestamp, &p->body) : NULL;
  if (secret) explicit_bzero(secret, strlen(secret));
  free(secret);
  if (mac) return p->headers[4] = mem_format("Stagemill-Signature: %s", mac), true;
  *s = (struct sending){.sent = SENT_RETRY};
  snprintf(s->error, sizeof s->error, "the secret %.60s that signs it is not known to the daemon", name);
  return false;
}

static bool address(struct parcel *p, struct sending *s) {
  url_auto struct url url = {0};
  const char *why = "";
  bool good =
      url_parse(p->delivery.to, &url, &why) && (strcmp(url.scheme, "http") == 0 || strcmp(url.scheme, "https") == 0);
  if (good) return p->host = mem_format("%s:%d", url.host, url_port(&url)), true;
  *s = (struct sending){.sent = SENT_NEVER};
  snprintf(s->error, sizeof s->error, "the address %s", *why ? why : "is neither http nor https");
  return false;
}

static void over(struct http_exchange *x) { ((struct parcel *)x->context)->over = true; }

static enum http_take keep_head(struct http_exchange *x) {
  (void)x;
  return HTTP_TAKE_KEEP;
}

static void prepare(struct courier *c, struct parcel *p) {
  const struct delivery *d = &p->delivery;
  const struct settings *settings = settings_hold(c->notify->options.settings);
  /* An address that the operator wrote down for the daemon may be anywhere; pipelines and jobs can come from others. */
  bool anywhere = settings->webhooks.allow_private || strcmp(d->source, "settings") == 0;
  p->exchange = (struct http_exchange){.method = "POST",
                                       .url = d->to,
                                       .headers = (const char *const *)p->headers,
                                       .header_count = p->headers[4] ? HEADERS : HEADERS - 1,
                                       .body = p->body.data,
                                       .body_size = (int64_t)p->body.size,
                                       .public_only = !anywhere,
                                       .head = keep_head,
                                       .total_timeout_ms = (long)(settings->webhooks.timeout_us / 1000),
                                       .done = over,
                                       .context = p,
                                       .keep_limit = ANSWER_KEPT};
  settings_release(c->notify->options.settings, &settings);
}

/* ---- what came of it
 * ------------------------------------------------------------------------------------------------------------ */

static void judge(const struct http_exchange *x, struct sending *s) {
  *s = (struct sending){.sent = SENT_RETRY, .status = (int)x->status, .wait_us = http_retry_after_s(x) * 1000000ll};
  if (x->status >= 200 && x->status < 300) {
    s->sent = SENT_WELL; /* taken, even if the rest of the answer never came */
  } else if (x->end == HTTP_CANCELLED) {
    s->sent = SENT_STOPPED;
  } else if (x->status >= 300 && x->status < 400) {
    s->sent = SENT_NEVER;
    snprintf(s->error, sizeof s->error, "it answered %ld: redirects are not followed, name the final address",
             x->status);
  } else if (x->status) {
    if (x->status == 410) s->sent = SENT_NEVER;
    snprintf(s->error, sizeof s->error, "it answered %ld %s", x->status, http_answer_words(x->status));
  } else {
    if (x->end == HTTP_FORBIDDEN || x->end == HTTP_IMPOSSIBLE) s->sent = SENT_NEVER;
    snprintf(s->error, sizeof s->error, "%s", x->problem[0] ? x->problem : "no answer came");
  }
}

static void deliver(struct courier *c, struct parcel *p) {
  struct sending s;
  judge(&p->exchange, &s);
  delivery_settle(c->notify, &p->delivery, &s);
  parcel_clear(p);
}

static bool collect(struct courier *c) {
  bool some = false;
  for (size_t i = 0; i < SLOTS; i++)
    if (c->parcels[i].over) deliver(c, &c->parcels[i]), some = true;
  return some;
}

/* ---- sending
 * ---------------------------------------------------------------------------------------------------------------------
 */

static size_t to_host(const struct courier *c, const char *host) {
  size_t count = 0;
  for (size_t i = 0; i < SLOTS; i++) count += c->parcels[i].host && strcmp(c->parcels[i].host, host) == 0;
  return count;
}

static bool is_on_its_way(const struct courier *c, const char *id) {
  for (size_t i = 0; i < SLOTS; i++)
    if (c->parcels[i].delivery.id && strcmp(c->parcels[i].delivery.id, id) == 0) return true;
  return false;
}

static struct parcel *free_slot(struct courier *c) {
  for (size_t i = 0; i < SLOTS; i++)
    if (!c->parcels[i].delivery.kind) return &c->parcels[i];
  return NULL;
}

static bool start(struct courier *c, struct parcel *p, struct sending *s) {
  char timestamp[24];
  if (delivery_envelope(c->notify, &p->delivery, &p->body))
    return s->sent = SENT_STOPPED, false; /* gone, or the store cannot be read now */
  snprintf(timestamp, sizeof timestamp, "%lld", (long long)(clock_wall(&clock_system) / 1000000));
  p->headers[0] = mem_text("Content-Type: application/json");
  p->headers[1] = mem_format("Stagemill-Event: %s", p->delivery.event);
  p->headers[2] = mem_format("Stagemill-Delivery: %s", p->delivery.id);
  p->headers[3] = mem_format("Stagemill-Timestamp: %s", timestamp);
  if (!sign(c, p, timestamp, s)) return false;
  prepare(c, p);
  if (http_start(c->client, &p->exchange)) return true;
  judge(&p->exchange, s);
  return false;
}

static enum taken_delivery take(void *context, struct delivery *d) {
  struct courier *c = context;
  struct sending s = {.sent = SENT_STOPPED};
  struct parcel *p = free_slot(c);
  if (is_on_its_way(c, d->id)) return DELIVERY_PASSED_OVER;
  if (!p) return c->crowded = true, DELIVERY_ENOUGH;
  p->delivery = *d;
  *d = (struct delivery){0};
  bool good = address(p, &s), fits = good && to_host(c, p->host) <= PER_HOST; /* itself among them */
  if (fits && start(c, p, &s)) return DELIVERY_TAKEN;
  if (good && !fits)
    c->crowded = true;
  else
    delivery_settle(c->notify, &p->delivery, &s);
  parcel_clear(p);
  return DELIVERY_TAKEN;
}

/* Looks what is due when something came, something ended, or something will be; never in a tight row. */
static int64_t look(struct courier *c, int64_t *looked_us) {
  int64_t now_us = clock_wall(&clock_system);
  c->crowded = false;
  *looked_us = now_us;
  int64_t next_us = deliveries_due(c->notify, DELIVERY_WEBHOOK, take, c);
  return c->crowded ? now_us + 1000000 : next_us;
}

void *courier_run(void *argument) {
  struct notify *n = argument;
  struct courier *c = mem_alloc(sizeof *c);
  const char *trusted = getenv("SSL_CERT_FILE"); /* as curl and OpenSSL have it */
  struct http_settings settings = {.ca_file = trusted && *trusted ? trusted : NULL,
                                   .connect_timeout_ms = 10000,
                                   .stall_s = 60,
                                   .networks = HTTP_ANY_NETWORK};
  uint64_t seen = 0, before;
  int64_t look_us = 0, looked_us = 0;
  bool go_on = true;
  *c = (struct courier){.notify = n, .client = http_open(&settings)};
  while (c->client && go_on) {
    if (clock_wall(&clock_system) >= look_us) look_us = look(c, &looked_us);
    if (http_running(c->client)) http_wait(c->client, TURN_MS);
    bool some = collect(c);
    before = seen;
    go_on = notify_wait(n, &seen, some || http_running(c->client) ? 0 : look_us);
    if (some || seen != before) look_us = looked_us + LOOK_APART_US;
  }
  http_close(&c->client);
  for (size_t i = 0; i < SLOTS; i++) parcel_clear(&c->parcels[i]);
  free(c);
  return NULL;
}
