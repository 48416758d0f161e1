/* notify_mail.c - the postman: one mail after the other through the operator's server (SMTP by libcurl). What the
 * server refuses for now (4xx) is tried again, what it refuses for good (5xx) is not. */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "service/notify_parts.h"

enum { CONNECT_MS = 10000, TOTAL_MS = 60000, TAKEN_MAX = 64 };

struct postman {
  struct notify *notify;
  CURL *easy;
  struct delivery taken[TAKEN_MAX];
  size_t count;
};

struct posting { /* one mail on its way */
  struct notify *notify;
  struct buf text;
  size_t sent;
  char error[CURL_ERROR_SIZE];
};

/* What the settings say, copied: they may be replaced meanwhile. */
struct post_office {
  char *server, *from, *user, *password, *tls;
};

static void office_close(struct post_office *o) {
  if (o->password) explicit_bzero(o->password, strlen(o->password));
  char *const texts[] = {o->server, o->from, o->user, o->password, o->tls};
  for (size_t i = 0; i < 5; i++) free(texts[i]);
}

static bool never(struct sending *s, const char *why) {
  s->sent = SENT_NEVER;
  snprintf(s->error, sizeof s->error, "%s", why);
  return false;
}

/* False: s says why. */
static bool office_open(struct notify *n, struct post_office *o, struct sending *s) {
  const struct settings *settings = settings_hold(n->options.settings);
  mem_auto char *password = mem_text(settings->mail.password);
  *o = (struct post_office){.server = mem_text(settings->mail.server),
                            .from = mem_text(settings->mail.from),
                            .user = mem_text(settings->mail.user),
                            .tls = mem_text(settings->mail.tls)};
  settings_release(n->options.settings, &settings);
  if (!o->server || !*o->server) return never(s, "no mail server is configured: set mail.server");
  if (!o->from || !mail_address_ok(o->from)) return never(s, "mail.from is no mail address");
  if (!password || !*password) return true;
  o->password = notify_secret(n, password);
  if (o->password) return true;
  s->sent = SENT_RETRY;
  snprintf(s->error, sizeof s->error, "the secret %.60s that mail.password names is not known to the daemon", password);
  return false;
}

/* ---- libcurl
 * ----------------------------------------------------------------------------------------------------------------------
 */

static size_t read_text(char *into, size_t size, size_t count, void *context) {
  struct posting *p = context;
  size_t room = size * count, left = p->text.size - p->sent, n = left < room ? left : room;
  memcpy(into, p->text.data + p->sent, n);
  p->sent += n;
  return n;
}

static int is_over(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
  (void)a, (void)b, (void)c, (void)d;
  return notify_stopping_now(((struct posting *)context)->notify);
}

static size_t ignore(char *data, size_t size, size_t count, void *context) {
  (void)data, (void)context;
  return size * count;
}

/* A password never travels in the clear: whoever can leave STARTTLS out of the server's answer could read it. */
static long tls_level(const struct post_office *o) {
  if (o->tls && strcmp(o->tls, "none") == 0) return CURLUSESSL_NONE;
  bool optional = o->tls && strcmp(o->tls, "optional") == 0 && !o->password;
  return optional ? CURLUSESSL_TRY : CURLUSESSL_ALL;
}

static void set_up(CURL *easy, const struct post_office *o, struct posting *p, struct curl_slist *to) {
  const char *trusted = getenv("SSL_CERT_FILE"); /* as curl and OpenSSL have it */
  curl_easy_reset(easy);
  curl_easy_setopt(easy, CURLOPT_URL, o->server);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
  curl_easy_setopt(easy, CURLOPT_PROXY, "");
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)TOTAL_MS);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, p->error);
  curl_easy_setopt(easy, CURLOPT_USE_SSL, tls_level(o));
  if (trusted && *trusted) curl_easy_setopt(easy, CURLOPT_CAINFO, trusted);
  if (o->user && *o->user) curl_easy_setopt(easy, CURLOPT_USERNAME, o->user);
  if (o->password) curl_easy_setopt(easy, CURLOPT_PASSWORD, o->password);
  curl_easy_setopt(easy, CURLOPT_MAIL_FROM, o->from);
  curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, to);
  curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
  curl_easy_setopt(easy, CURLOPT_READFUNCTION, read_text);
  curl_easy_setopt(easy, CURLOPT_READDATA, p);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, ignore);
  curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, is_over);
  curl_easy_setopt(easy, CURLOPT_XFERINFODATA, p);
}

static void judge(CURL *easy, CURLcode code, const struct posting *p, struct sending *s) {
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  s->status = (int)status;
  s->sent = code == CURLE_OK ? SENT_WELL : SENT_RETRY;
  if (code == CURLE_OK) return;
  const char *why = p->error[0] ? p->error : curl_easy_strerror(code);
  if (code == CURLE_ABORTED_BY_CALLBACK) {
    s->sent = SENT_STOPPED;
  } else if (code == CURLE_USE_SSL_FAILED) {
    s->sent = SENT_NEVER;
    why = "the mail server offers no STARTTLS, which mail.tls (or mail.password) requires";
  } else if (status >= 500 || code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL) {
    s->sent = SENT_NEVER;
  }
  /* The server's own words may hold anything: the record is shown to people. */
  snprintf(s->error, sizeof s->error, status >= 400 ? "the mail server refused it with %ld: %s" : "%.0ld%s",
           status >= 400 ? status : 0L, why);
  for (char *c = s->error; *c; c++)
    if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = ' ';
}

/* ---- one mail
 * ---------------------------------------------------------------------------------------------------------------------
 */

static bool compose(struct notify *n, const struct delivery *d, const struct post_office *o, struct buf *out) {
  struct job_record job = {0};
  struct buf buf_auto json = {0}, subject = {0}, text = {0};
  value_auto struct value *envelope = NULL;
  if (delivery_envelope(n, d, &json)) return false;
  value_from_json(buf_string(&json), json.size, &envelope, NULL);
  bool known = !d->batch && store_job(n->options.store, d->subject, &job, NULL) == ERR_OK;
  mail_words(d, envelope, known ? &job : NULL, &subject, &text);
  struct mail_message m = {.from = o->from,
                           .to = d->to,
                           .id = d->id,
                           .at_us = clock_wall(&clock_system),
                           .subject = buf_string(&subject),
                           .text = buf_string(&text)};
  mail_compose(out, &m);
  job_record_clear(&job);
  return true;
}

static void post(struct postman *p, const struct delivery *d, struct sending *s) {
  struct post_office office = {0};
  struct posting posting = {.notify = p->notify};
  *s = (struct sending){.sent = SENT_STOPPED};
  if (!mail_address_ok(d->to)) {
    never(s, "it is no mail address");
  } else if (office_open(p->notify, &office, s) && compose(p->notify, d, &office, &posting.text)) {
    struct curl_slist *to = curl_slist_append(NULL, d->to);
    set_up(p->easy, &office, &posting, to);
    CURLcode code = curl_easy_perform(p->easy);
    judge(p->easy, code, &posting, s);
    curl_easy_reset(p->easy); /* forgets the password; the connection stays for the next */
    curl_slist_free_all(to);
  }
  office_close(&office);
  buf_free(&posting.text);
}

static enum taken_delivery take(void *context, struct delivery *d) {
  struct postman *p = context;
  if (p->count == TAKEN_MAX) return DELIVERY_ENOUGH;
  p->taken[p->count++] = *d;
  *d = (struct delivery){0};
  return DELIVERY_TAKEN;
}

void *postman_run(void *argument) {
  struct notify *n = argument;
  struct postman *p = mem_alloc(sizeof *p);
  uint64_t seen = 0;
  int64_t look_us = 0;
  *p = (struct postman){.notify = n, .easy = curl_easy_init()};
  do {
    look_us = deliveries_due(n, DELIVERY_MAIL, take, p);
    bool settled = false;
    for (size_t i = 0; i < p->count; i++) {
      struct sending s = {.sent = SENT_STOPPED};
      if (p->easy && !notify_stopping_now(n)) post(p, &p->taken[i], &s);
      settled |= s.sent != SENT_STOPPED;
      delivery_settle(n, &p->taken[i], &s);
      delivery_clear(&p->taken[i]);
    }
    if (p->count)
      look_us = settled ? 0 : clock_wall(&clock_system) + 1000000; /* a store that cannot be read just now */
    p->count = 0;
  } while (notify_wait(n, &seen, look_us));
  if (p->easy) curl_easy_cleanup(p->easy);
  free(p);
  return NULL;
}
