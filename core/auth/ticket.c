/* One-time tickets: a credential short and short-lived enough to stand in an address. They live in memory: a restart
 * ends them, and their holders ask again. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "auth/keyring.h"
#include "base/mem.h"

enum {
  TICKET_US = 30 * 1000 * 1000,
  TICKETS_MAX = 10000,
  TICKETS_PER_SUBJECT = 100,
  TICKET_BYTES = 32,
  ROOM_STEP = 64
};

static bool digest_ticket(const char *text, unsigned char digest[32]) {
  return EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) == 1;
}

static void remove_at(struct keyring *k, size_t at) {
  principal_clear(&k->tickets[at].principal);
  memmove(k->tickets + at, k->tickets + at + 1, (k->ticket_count - at - 1) * sizeof(*k->tickets));
  k->ticket_count--;
}

/* All live equally long, so the oldest end first. */
static void drop_ended(struct keyring *k, int64_t now) {
  size_t ended = 0;
  while (ended < k->ticket_count && k->tickets[ended].until_boot_us <= now)
    principal_clear(&k->tickets[ended++].principal);
  if (!ended) return;
  k->ticket_count -= ended;
  memmove(k->tickets, k->tickets + ended, k->ticket_count * sizeof(*k->tickets));
}

static bool is_full(const struct keyring *k, const char *subject) {
  size_t own = 0;
  for (size_t i = 0; i < k->ticket_count; i++) own += strcmp(k->tickets[i].principal.subject, subject) == 0;
  return k->ticket_count >= TICKETS_MAX || own >= TICKETS_PER_SUBJECT;
}

static void keep(struct keyring *k, const unsigned char digest[32], const struct principal *p, int64_t now) {
  if (k->ticket_count == k->ticket_room) {
    k->ticket_room += ROOM_STEP;
    k->tickets = mem_grow(k->tickets, k->ticket_room, sizeof(*k->tickets));
  }
  struct ticket *t = &k->tickets[k->ticket_count++];
  memcpy(t->digest, digest, sizeof(t->digest));
  principal_copy(&t->principal, p);
  t->until_boot_us = now + TICKET_US;
}

enum err ticket_issue(struct keyring *k, const struct principal *p, char ticket[65], int64_t *expires_us,
                      struct error *e) {
  static const char digits[] = "0123456789abcdef";
  unsigned char raw[TICKET_BYTES], digest[32];
  if (!p->subject) return error_set(e, ERR_DENIED, "a ticket needs somebody to be for");
  if (RAND_bytes(raw, sizeof(raw)) != 1) return error_set(e, ERR_INTERNAL, "no random bytes for a ticket can be had");
  for (size_t i = 0; i < sizeof(raw); i++) {
    ticket[2 * i] = digits[raw[i] >> 4];
    ticket[2 * i + 1] = digits[raw[i] & 15];
  }
  ticket[64] = '\0';
  if (!digest_ticket(ticket, digest)) return error_set(e, ERR_INTERNAL, "a ticket cannot be made");
  int64_t now = clock_boot(k->clock);
  pthread_mutex_lock(&k->tickets_lock);
  drop_ended(k, now);
  bool full = is_full(k, p->subject);
  if (!full) keep(k, digest, p, now);
  pthread_mutex_unlock(&k->tickets_lock);
  if (full) return error_set(e, ERR_BUSY, "too many tickets wait to be used: try again in a few seconds");
  if (expires_us) *expires_us = clock_wall(k->clock) + TICKET_US;
  return ERR_OK;
}

static bool take(struct keyring *k, const unsigned char digest[32], struct principal *p) {
  for (size_t i = 0; i < k->ticket_count; i++) {
    if (CRYPTO_memcmp(k->tickets[i].digest, digest, 32) != 0) continue;
    *p = k->tickets[i].principal;
    k->tickets[i].principal = (struct principal){0};
    remove_at(k, i);
    return true;
  }
  return false;
}

enum err ticket_redeem(struct keyring *k, const char *ticket, struct principal *p, struct error *e) {
  unsigned char digest[32];
  *p = (struct principal){0};
  if (strnlen(ticket, 65) != 64 || !digest_ticket(ticket, digest)) return error_set(e, ERR_DENIED, "this is no ticket");
  pthread_mutex_lock(&k->tickets_lock);
  drop_ended(k, clock_boot(k->clock));
  bool found = take(k, digest, p);
  pthread_mutex_unlock(&k->tickets_lock);
  if (!found) return error_set(e, ERR_DENIED, "the ticket is unknown, was used already, or its 30 s are over");
  /* A ticket is worth no more than the token that it was made with. */
  bool ended = clock_wall(k->clock) >= p->expires_us + k->skew_us;
  if (!ended && !keyring_is_revoked(k, p)) return ERR_OK;
  principal_clear(p);
  return error_set(e, ERR_DENIED,
                   ended ? "the token behind the ticket has expired" : "the token behind the ticket was revoked");
}

void tickets_clear(struct keyring *k) {
  for (size_t i = 0; i < k->ticket_count; i++) principal_clear(&k->tickets[i].principal);
  free(k->tickets);
  k->tickets = NULL;
  k->ticket_count = k->ticket_room = 0;
}
