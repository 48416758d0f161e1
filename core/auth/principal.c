/* Who somebody is, and what that allows: scopes, ownership, grants. */
#include <string.h>

#include "auth/auth.h"
#include "base/mem.h"

static const struct {
  enum scope_bit scope;
  const char *word;
} words[] = {{SCOPE_READ, "read"},
             {SCOPE_SUBMIT, "submit"},
             {SCOPE_PIPELINES, "pipelines"},
             {SCOPE_ADMIN, "admin"},
             {SCOPE_FOLLOW, "follow"}};
enum { WORDS = sizeof(words) / sizeof(words[0]) };

const char *scope_word(enum scope_bit scope) {
  for (size_t i = 0; i < WORDS; i++)
    if (words[i].scope == scope) return words[i].word;
  return "unknown";
}

static unsigned scope_of(const char *word, size_t size) {
  for (size_t i = 0; i < WORDS; i++)
    if (strlen(words[i].word) == size && memcmp(words[i].word, word, size) == 0) return words[i].scope;
  return 0;
}

enum err scopes_parse(const char *text, unsigned *scopes, struct error *e) {
  *scopes = 0;
  for (const char *at = text + strspn(text, ", "); *at; at += strspn(at, ", ")) {
    size_t size = strcspn(at, ", ");
    unsigned scope = scope_of(at, size);
    if (!scope)
      return error_set(e, ERR_USAGE, "unknown scope '%.*s': valid are read, submit, pipelines, admin and follow",
                       size > 40 ? 40 : (int)size, at);
    *scopes |= scope;
    at += size;
  }
  return ERR_OK;
}

void principal_clear(struct principal *p) {
  free(p->subject);
  free(p->token_id);
  for (size_t i = 0; i < p->grant_count; i++) free(p->grants[i]);
  free(p->grants);
  *p = (struct principal){0};
}

void principal_copy(struct principal *to, const struct principal *from) {
  *to = *from;
  to->subject = mem_text(from->subject);
  to->token_id = mem_text(from->token_id);
  to->grants = from->grant_count ? mem_array(from->grant_count, sizeof(*to->grants)) : NULL;
  for (size_t i = 0; i < from->grant_count; i++) to->grants[i] = mem_text(from->grants[i]);
}

static bool owns(const struct principal *p, const struct matter *m) {
  return p->subject && m->owner && strcmp(p->subject, m->owner) == 0;
}

static bool granted(const struct principal *p, const struct matter *m) {
  const struct {
    const char *prefix, *id;
  } names[] = {{"job:", m->job}, {"batch:", m->batch}, {"asset:", m->asset}, {"pipeline:", m->pipeline}};
  for (size_t i = 0; i < p->grant_count; i++)
    for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
      size_t size = strlen(names[n].prefix);
      if (names[n].id && strncmp(p->grants[i], names[n].prefix, size) == 0 &&
          strcmp(p->grants[i] + size, names[n].id) == 0)
        return true;
    }
  return false;
}

bool principal_may_see(const struct principal *p, const struct matter *m) {
  if (!p) return false;
  if (p->scopes & SCOPE_FOLLOW) return granted(p, m);
  return p->scopes & SCOPE_ADMIN || owns(p, m) || granted(p, m);
}

bool principal_may_change(const struct principal *p, const struct matter *m) {
  if (!p || p->scopes & SCOPE_FOLLOW) return false;
  if (p->scopes & SCOPE_ADMIN) return true;
  return p->scopes & SCOPE_SUBMIT && (owns(p, m) || granted(p, m));
}
