/* Who wants to know about an event: the daemon's settings, the pipeline, the job. */
#include <string.h>

#include "base/mem.h"
#include "service/notify_parts.h"

/* Everything that an `on` can name; batches are told to the settings' own hooks alone. */
static const char *const told[] = {"completed", "failed",   "cancelled",       "queued",       "started",
                                   "stage",     "retrying", "batch-completed", "batch-failed", "batch-cancelled"};
static const char *const told_unasked[] = {"completed", "failed", "batch-completed", "batch-failed"};

static bool is_among(const char *word, const char *const *words, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(words[i], word) == 0) return true;
  return false;
}

#define COUNT(list) (sizeof(list) / sizeof *(list))
bool targets_may_want(const char *type) { return is_among(type, told, COUNT(told)); }

static bool wants(const struct value *on, const char *type) {
  if (value_is_null(on)) return is_among(type, told_unasked, COUNT(told_unasked));
  if (on->type == VALUE_TEXT) return strcmp(on->text, type) == 0;
  for (size_t i = 0; on->type == VALUE_LIST && i < on->count; i++)
    if (on->items[i]->type == VALUE_TEXT && strcmp(on->items[i]->text, type) == 0) return true;
  return false;
}

static void add(struct targets *t, enum delivery_kind kind, const char *to, const char *secret, const char *source) {
  if (!to || !*to || t->count == TARGETS_MAX) return;
  for (size_t i = 0; i < t->count; i++)
    if (t->items[i].kind == kind && strcmp(t->items[i].to, to) == 0) return;
  t->items[t->count++] = (struct target){kind, mem_text(to), mem_text(secret), source};
}

static void add_addresses(struct targets *t, const struct value *to, const char *source) {
  if (value_is_null(to)) return;
  if (to->type == VALUE_TEXT) add(t, DELIVERY_MAIL, to->text, NULL, source);
  for (size_t i = 0; to->type == VALUE_LIST && i < to->count; i++)
    if (to->items[i]->type == VALUE_TEXT) add(t, DELIVERY_MAIL, to->items[i]->text, NULL, source);
}

/* {webhooks: [{url, on, secret}], mail: [{to, on}]}. A job's hooks name no secrets: whoever submits does not know ours.
 */
static void add_notify(struct targets *t, const struct value *notify, const char *type, const char *source,
                       bool secrets) {
  const struct value *hooks = value_get(notify, "webhooks"), *mails = value_get(notify, "mail");
  for (size_t i = 0; hooks && hooks->type == VALUE_LIST && i < hooks->count; i++) {
    const struct value *hook = hooks->items[i];
    if (wants(value_get(hook, "on"), type))
      add(t, DELIVERY_WEBHOOK, value_get_text(hook, "url", NULL), secrets ? value_get_text(hook, "secret", NULL) : NULL,
          source);
  }
  for (size_t i = 0; mails && mails->type == VALUE_LIST && i < mails->count; i++)
    if (wants(value_get(mails->items[i], "on"), type)) add_addresses(t, value_get(mails->items[i], "to"), source);
}

static size_t texts_count(char *const *texts) {
  size_t count = 0;
  while (texts && texts[count]) count++;
  return count;
}

static void add_settings(struct targets *t, const struct settings *s, const char *type) {
  for (size_t i = 0; is_among(type, told_unasked, COUNT(told_unasked)) && s->webhooks.urls && s->webhooks.urls[i]; i++)
    add(t, DELIVERY_WEBHOOK, s->webhooks.urls[i], NULL, "settings");
  const char *const *on = (const char *const *)s->mail.on;
  bool mailed = is_among(type, on, texts_count(s->mail.on));
  for (size_t i = 0; mailed && s->mail.to && s->mail.to[i]; i++) add(t, DELIVERY_MAIL, s->mail.to[i], NULL, "settings");
}

void targets_find(const struct settings *settings, const struct event_record *event, const char *extra_json,
                  struct targets *t) {
  value_auto struct value *extra = NULL;
  *t = (struct targets){.count = 0};
  add_settings(t, settings, event->type);
  if (!extra_json || value_from_json(extra_json, strlen(extra_json), &extra, NULL)) return;
  add_notify(t, value_get(extra, "pipelineNotify"), event->type, "pipeline", true);
  add_notify(t, value_get(extra, "notify"), event->type, "job", false);
}

void targets_clear(struct targets *t) {
  for (size_t i = 0; i < t->count; i++) {
    free(t->items[i].to);
    free(t->items[i].secret);
  }
  t->count = 0;
}

/* Nothing that could end the address where it is put: a header, or a command of SMTP. */
bool mail_address_ok(const char *text) {
  const char *at = strchr(text, '@');
  bool good = at && at > text && at[1] && !strchr(at + 1, '@') && strlen(text) <= 254;
  for (const char *c = text; *c; c++)
    good &= (unsigned char)*c > ' ' && (unsigned char)*c < 0x7f && !strchr("<>()[],;:\\\"", *c);
  return good;
}
