/* Tokens that count no more although their time is not over. Sorted by name; what no valid token can match is dropped.
 */
#include <string.h>

#include "auth/keyring.h"
#include "base/mem.h"

/* The place of `what`, or where it would be put. */
static size_t place_of(const struct keyring *k, const char *what, bool *found) {
  size_t low = 0, high = k->revocation_count;
  *found = false;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(k->revocations[middle].what, what);
    *found = order == 0;
    if (*found) return middle;
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void drop_ended(struct keyring *k, int64_t now) {
  size_t kept = 0;
  for (size_t i = 0; i < k->revocation_count; i++) {
    if (k->revocations[i].until_us > now)
      k->revocations[kept++] = k->revocations[i];
    else
      free(k->revocations[i].what);
  }
  k->revocation_count = kept;
}

static void insert(struct keyring *k, size_t at, const char *what, int64_t at_us, int64_t until_us) {
  k->revocations = mem_grow(k->revocations, k->revocation_count + 1, sizeof(*k->revocations));
  memmove(k->revocations + at + 1, k->revocations + at, (k->revocation_count - at) * sizeof(*k->revocations));
  k->revocations[at] = (struct revocation){mem_text(what), at_us, until_us};
  k->revocation_count++;
}

void keyring_revoke(struct keyring *k, const char *what, int64_t at_us, int64_t until_us) {
  bool found;
  int64_t now = clock_wall(k->clock);
  if (until_us <= now) return;
  pthread_mutex_lock(&k->revocations_lock);
  drop_ended(k, now);
  size_t at = place_of(k, what, &found);
  struct revocation *r = &k->revocations[at];
  if (!found) {
    insert(k, at, what, at_us, until_us);
  } else {
    if (at_us > r->at_us) r->at_us = at_us;
    if (until_us > r->until_us) r->until_us = until_us;
  }
  pthread_mutex_unlock(&k->revocations_lock);
}

static bool matches(const struct keyring *k, const char *kind, const char *id, int64_t issued_us) {
  bool found;
  if (!id) return false;
  mem_auto char *what = mem_format("%s:%s", kind, id);
  size_t at = place_of(k, what, &found);
  /* Without `iat` nobody knows when it was issued: revoked. */
  return found && (issued_us == 0 || issued_us <= k->revocations[at].at_us);
}

bool keyring_is_revoked(struct keyring *k, const struct principal *p) {
  pthread_mutex_lock(&k->revocations_lock);
  bool revoked =
      k->revocation_count && (matches(k, "jti", p->token_id, 0) || matches(k, "sub", p->subject, p->issued_us));
  pthread_mutex_unlock(&k->revocations_lock);
  return revoked;
}

void revocations_clear(struct keyring *k) {
  for (size_t i = 0; i < k->revocation_count; i++) free(k->revocations[i].what);
  free(k->revocations);
  k->revocations = NULL;
  k->revocation_count = 0;
}
