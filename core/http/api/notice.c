/* notice.c - `notify` of a submission: who is told what becomes of the job. */
#include <string.h>
#include <strings.h>

#include "api/parts.h"

enum { NOTICES_MAX = 10, TARGET_BYTES = 2000 };

static bool notice_on(struct exchange *x, const struct value *on) {
  static const char *const words[] = {"queued", "started", "stage", "retrying", "completed", "failed", "cancelled"};
  if (value_is_null(on)) return true;
  for (size_t i = 0; on->type == VALUE_LIST && i < on->count; i++) {
    bool known = false;
    for (size_t k = 0; k < sizeof words / sizeof *words; k++)
      known |= on->items[i]->type == VALUE_TEXT && strcmp(on->items[i]->text, words[k]) == 0;
    if (known) continue;
    http_problem(x, 400, "invalid", "'on' of a notice lists events: queued, started, stage, retrying, completed, failed, "
                 "cancelled");
    return false;
  }
  if (on->type == VALUE_LIST) return true;
  http_problem(x, 400, "invalid", "'on' of a notice has to be a list of events");
  return false;
}

static bool notices(struct exchange *x, const struct value *notify, const char *kind, const char *target) {
  const struct value *list = value_get(notify, kind);
  const char *valid[] = {target, "on", NULL}, *text;
  if (value_is_null(list)) return true;
  if (list->type != VALUE_LIST || list->count > NOTICES_MAX) {
    http_problem(x, 400, "invalid", "'notify.%s' has to be a list of at most %d", kind, NOTICES_MAX);
    return false;
  }
  for (size_t i = 0; i < list->count; i++) {
    const struct value *item = list->items[i];
    if (item->type != VALUE_MAP || value_is_null(value_get(item, target))) {
      http_problem(x, 400, "invalid", "every item of 'notify.%s' is an object with '%s'", kind, target);
      return false;
    }
    if (!api_keys(x, item, valid) || !api_text(x, item, target, TARGET_BYTES, &text) || !notice_on(x, value_get(item, "on")))
      return false;
    bool web = strcmp(target, "url") == 0;
    bool good = web ? strncasecmp(text, "http://", 7) == 0 || strncasecmp(text, "https://", 8) == 0
                    : strchr(text, '@') && !strpbrk(text, "\r\n<>, ");
    if (good) continue;
    http_problem(x, 400, "invalid", web ? "'%.100s' is no http or https URL" : "'%.100s' is no mail address", text);
    return false;
  }
  return true;
}

bool api_notify_check(struct exchange *x, const struct value *notify) {
  static const char *const valid[] = {"webhooks", "mail", NULL};
  if (notify->type != VALUE_MAP) {
    http_problem(x, 400, "invalid", "'notify' has to be an object with webhooks or mail");
    return false;
  }
  return api_keys(x, notify, valid) && notices(x, notify, "webhooks", "url") && notices(x, notify, "mail", "to");
}
