/* What a principal may do, and what is given out besides tokens: tickets, links, seals, revocations. */
#include "forge.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "auth/base64url.h"
#include "base/mem.h"

static struct forge forge;
static struct keyring *ring;

static struct keyring *open_own(const char *name) {
  struct keyring *k;
  mem_auto char *path = forge_path(&forge, name);
  struct keyring_options o = {.own_file = path, .clock = &forge.clock.clock};
  assert_int_equal(keyring_open(&k, &o, NULL), ERR_OK);
  return k;
}

static int setup(void **state) {
  (void)state;
  forge_open(&forge);
  ring = open_own("own.key");
  return 0;
}

static int teardown(void **state) {
  (void)state;
  keyring_close(&ring);
  forge_close(&forge);
  return 0;
}

static void ownership_grants_and_scopes_decide(void **state) {
  (void)state;
  char *job[] = {TEXT("job:j")}, *asset[] = {TEXT("batch:b"), TEXT("asset:a")}, *pipeline[] = {TEXT("pipeline:p")},
       *near[] = {TEXT("job:jj"), TEXT("job:"), TEXT("asset:j")};
  const struct matter m = {.owner = "ann", .job = "j", .batch = "b", .asset = "a", .pipeline = "p"},
                      bare = {.owner = "ann"};
  const struct {
    struct principal p;
    bool see, change, see_bare;
  } table[] = {
      {{.subject = TEXT("ann"), .scopes = SCOPE_READ}, true, false, true},
      {{.subject = TEXT("ann"), .scopes = SCOPE_SUBMIT}, true, true, true},
      {{.subject = TEXT("bob"), .scopes = SCOPE_READ | SCOPE_SUBMIT}, false, false, false},
      {{.subject = TEXT("Ann"), .scopes = SCOPE_READ}, false, false, false},
      {{.subject = TEXT("bob"), .scopes = SCOPE_ADMIN}, true, true, true},
      {{.subject = TEXT("bob"), .scopes = SCOPE_READ, .grants = job, .grant_count = 1}, true, false, false},
      {{.subject = TEXT("bob"), .scopes = SCOPE_SUBMIT, .grants = asset, .grant_count = 2}, true, true, false},
      {{.subject = TEXT("bob"), .scopes = SCOPE_READ, .grants = near, .grant_count = 3}, false, false, false},
      {{.subject = TEXT("ann"), .scopes = SCOPE_FOLLOW}, false, false, false},
      {{.subject = TEXT("ann"), .scopes = SCOPE_FOLLOW | SCOPE_ADMIN, .grants = pipeline, .grant_count = 1},
       true,
       false,
       false},
  };
  for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
    assert_int_equal(principal_may_see(&table[i].p, &m), table[i].see);
    assert_int_equal(principal_may_change(&table[i].p, &m), table[i].change);
    assert_int_equal(principal_may_see(&table[i].p, &bare), table[i].see_bare);
  }
  assert_false(principal_may_see(NULL, &m));
  assert_false(principal_may_see(&table[0].p, &(struct matter){0}));
}

static void scopes_are_written_with_commas_or_blanks(void **state) {
  (void)state;
  struct error e;
  unsigned scopes;
  assert_int_equal(scopes_parse("submit, read admin", &scopes, &e), ERR_OK);
  assert_int_equal(scopes, SCOPE_SUBMIT | SCOPE_READ | SCOPE_ADMIN);
  assert_int_equal(scopes_parse("", &scopes, &e), ERR_OK);
  assert_int_equal(scopes, 0);
  assert_int_equal(scopes_parse("read,wirte", &scopes, &e), ERR_USAGE);
  assert_non_null(strstr(e.message, "'wirte'"));
  assert_non_null(strstr(e.message, "pipelines"));
}

/* ---- revocation ------------------------------------------------------------------------------------------------- */

static char *mint(const char *subject) {
  char *token;
  struct error e;
  struct principal p = {.subject = (char *)(uintptr_t)subject, .scopes = SCOPE_READ};
  if (keyring_mint(ring, &p, &token, &e)) fail_msg("%s", e.message);
  return token;
}

static enum err verify(const char *token) {
  struct principal p;
  enum err status = keyring_verify(ring, token, &p, NULL);
  principal_clear(&p);
  return status;
}

static void revoking_a_subject_ends_its_tokens_but_not_later_ones(void **state) {
  (void)state;
  int64_t hour = 3600 * INT64_C(1000000), now = forge.clock.wall_us;
  mem_auto char *ann = mint("ann"), *bob = mint("bob");
  keyring_revoke(ring, "sub:ann", now, now + hour);
  assert_int_equal(verify(ann), ERR_DENIED);
  assert_int_equal(verify(bob), ERR_OK);
  forge.clock.wall_us += 1000000;
  mem_auto char *later = mint("ann");
  assert_int_equal(verify(later), ERR_OK);
  struct principal p;
  assert_int_equal(keyring_verify(ring, later, &p, NULL), ERR_OK);
  mem_auto char *what = mem_format("jti:%s", p.token_id);
  keyring_revoke(ring, what, now, now + hour);
  assert_true(keyring_is_revoked(ring, &p)); /* an open socket asks this */
  assert_int_equal(verify(later), ERR_DENIED);
  principal_clear(&p);
  for (int i = 0; i < 2000; i++) { /* sorted whatever the order; what has ended is dropped */
    mem_auto char *name = mem_format("jti:%d", i * 7919 % 2000);
    keyring_revoke(ring, name, now, now + (i % 2 ? hour : 1003000));
  }
  forge.clock.wall_us += 10000;
  keyring_revoke(ring, "jti:last", now, now + hour);
  struct principal odd = {.subject = TEXT("x"), .token_id = TEXT("7919")},
                   known = {.subject = TEXT("x"), .token_id = TEXT("1919")};
  assert_false(keyring_is_revoked(ring, &odd));
  assert_true(keyring_is_revoked(ring, &known));
  forge.clock.wall_us = now;
}

/* ---- tickets ---------------------------------------------------------------------------------------------------- */

static struct principal ida(void) {
  return (struct principal){
      .subject = TEXT("ida"), .scopes = SCOPE_READ, .expires_us = forge.clock.wall_us + 20 * INT64_C(1000000)};
}

static void a_ticket_is_good_once_and_for_half_a_minute(void **state) {
  (void)state;
  char first[65], second[65];
  int64_t expires;
  struct principal who = ida(), p;
  struct error e;
  who.expires_us += 3600 * INT64_C(1000000);
  assert_int_equal(ticket_issue(ring, &who, first, &expires, &e), ERR_OK);
  assert_int_equal(ticket_issue(ring, &who, second, &expires, &e), ERR_OK);
  assert_int_equal(strlen(first), 64);
  assert_int_equal(expires, forge.clock.wall_us + 30 * 1000000);
  assert_int_equal(ticket_redeem(ring, first, &p, &e), ERR_OK);
  assert_string_equal(p.subject, "ida");
  principal_clear(&p);
  assert_int_equal(ticket_redeem(ring, first, &p, &e), ERR_DENIED);
  forge.clock.boot_us += 30 * 1000000;
  assert_int_equal(ticket_redeem(ring, second, &p, &e), ERR_DENIED);
  assert_int_equal(ticket_redeem(ring, "", &p, &e), ERR_DENIED);
  assert_int_equal(ticket_redeem(ring, second + 1, &p, &e), ERR_DENIED);
}

static void a_ticket_is_worth_no_more_than_its_token(void **state) {
  (void)state;
  char ticket[65];
  struct principal who = ida(), p;
  struct error e;
  assert_int_equal(ticket_issue(ring, &who, ticket, NULL, &e), ERR_OK);
  forge.clock.wall_us += 21 * 1000000;
  assert_int_equal(ticket_redeem(ring, ticket, &p, &e), ERR_DENIED);
  assert_non_null(strstr(e.message, "expired"));
  forge.clock.wall_us -= 21 * 1000000;
  who.token_id = TEXT("to-be-revoked");
  assert_int_equal(ticket_issue(ring, &who, ticket, NULL, &e), ERR_OK);
  keyring_revoke(ring, "jti:to-be-revoked", 0, forge.clock.wall_us + 1000000);
  assert_int_equal(ticket_redeem(ring, ticket, &p, &e), ERR_DENIED);
  assert_non_null(strstr(e.message, "revoked"));
}

static void tickets_are_bounded_per_subject(void **state) {
  (void)state;
  char ticket[65];
  struct principal who = ida(), other = ida();
  struct error e;
  who.subject = TEXT("greedy");
  for (int i = 0; i < 100; i++) assert_int_equal(ticket_issue(ring, &who, ticket, NULL, &e), ERR_OK);
  assert_int_equal(ticket_issue(ring, &who, ticket, NULL, &e), ERR_BUSY);
  assert_int_equal(ticket_issue(ring, &other, ticket, NULL, &e), ERR_OK);
  forge.clock.boot_us += 30 * 1000000;
  assert_int_equal(ticket_issue(ring, &who, ticket, NULL, &e), ERR_OK);
}

struct rush {
  char ticket[65];
  int won;
};

static void *redeem(void *context) {
  struct rush *r = context;
  struct principal p;
  bool won = ticket_redeem(ring, r->ticket, &p, NULL) == ERR_OK;
  principal_clear(&p);
  if (won) __atomic_add_fetch(&r->won, 1, __ATOMIC_RELAXED);
  return NULL;
}

static void of_many_who_redeem_at_once_one_wins(void **state) {
  (void)state;
  for (int round = 0; round < 20; round++) {
    struct rush r = {.won = 0};
    struct principal who = ida();
    pthread_t threads[4];
    assert_int_equal(ticket_issue(ring, &who, r.ticket, NULL, NULL), ERR_OK);
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, redeem, &r);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    assert_int_equal(r.won, 1);
  }
}

/* ---- links and seals -------------------------------------------------------------------------------------------- */

static void a_link_is_good_for_its_method_path_and_time(void **state) {
  (void)state;
  char signature[65], wrong[65];
  struct error e;
  int64_t until = NOW_S + 60;
  link_sign(ring, "PUT", "/api/v1/uploads/put/a", until, signature);
  assert_int_equal(link_verify(ring, "PUT", "/api/v1/uploads/put/a", until, signature, &e), ERR_OK);
  assert_int_equal(link_verify(ring, "GET", "/api/v1/uploads/put/a", until, signature, &e), ERR_DENIED);
  assert_int_equal(link_verify(ring, "PUT", "/api/v1/uploads/put/b", until, signature, &e), ERR_DENIED);
  assert_int_equal(link_verify(ring, "PUT", "/api/v1/uploads/put/a", until + 1, signature, &e), ERR_DENIED);
  assert_int_equal(link_verify(ring, "PUT", "/api/v1/uploads/put/a", until, "", &e), ERR_DENIED);
  memcpy(wrong, signature, sizeof(wrong));
  wrong[5] = wrong[5] == 'A' ? 'B' : 'A';
  assert_int_equal(link_verify(ring, "PUT", "/api/v1/uploads/put/a", until, wrong, &e), ERR_DENIED);
  struct keyring *again = open_own("own.key"), *other = open_own("other.key");
  assert_int_equal(link_verify(again, "PUT", "/api/v1/uploads/put/a", until, signature, &e), ERR_OK);
  assert_int_equal(link_verify(other, "PUT", "/api/v1/uploads/put/a", until, signature, &e), ERR_DENIED);
  keyring_close(&again);
  keyring_close(&other);
  forge.clock.wall_us += 60 * 1000000;
  assert_int_equal(link_verify(ring, "PUT", "/api/v1/uploads/put/a", until, signature, &e), ERR_DENIED);
  assert_non_null(strstr(e.message, "expired"));
  forge.clock.wall_us -= 60 * 1000000;
}

static void what_is_sealed_opens_with_its_context_and_key_alone(void **state) {
  (void)state;
  char *sealed, *twice, *plain;
  struct error e;
  assert_int_equal(seal(ring, "batch:1", "a caller's token", &sealed, &e), ERR_OK);
  assert_int_equal(seal(ring, "batch:1", "a caller's token", &twice, &e), ERR_OK);
  assert_string_not_equal(sealed, twice);
  assert_null(strstr(sealed, "token"));
  assert_int_equal(unseal(ring, "batch:1", sealed, &plain, &e), ERR_OK);
  assert_string_equal(plain, "a caller's token");
  free(plain);
  assert_int_equal(unseal(ring, "batch:2", sealed, &plain, &e), ERR_DENIED);
  struct keyring *other = open_own("third.key");
  assert_int_equal(unseal(other, "batch:1", sealed, &plain, &e), ERR_DENIED);
  keyring_close(&other);
  for (size_t i = 0; sealed[i]; i++) {
    char kept = sealed[i];
    sealed[i] = kept == 'A' ? 'B' : 'A';
    assert_int_not_equal(unseal(ring, "batch:1", sealed, &plain, &e), ERR_OK);
    assert_null(plain);
    sealed[i] = kept;
  }
  assert_int_equal(unseal(ring, "batch:1", "v1.", &plain, &e), ERR_CORRUPT);
  free(sealed);
  free(twice);
  assert_int_equal(seal(ring, "", "", &sealed, &e), ERR_OK);
  assert_int_equal(unseal(ring, "", sealed, &plain, &e), ERR_OK);
  assert_string_equal(plain, "");
  free(sealed);
  free(plain);
}

static void base64url_has_one_text_for_one_content(void **state) {
  (void)state;
  for (unsigned size = 0; size < 40; size++) {
    struct buf buf_auto text = {0}, back = {0};
    char data[40];
    for (unsigned i = 0; i < size; i++) data[i] = (char)(i * 89 + size * 7);
    base64url_add(&text, data, size);
    assert_true(base64url_read(buf_string(&text), text.size, &back));
    assert_int_equal(back.size, size);
    assert_memory_equal(buf_string(&back), data, size);
  }
  static const char *const bad[] = {"A", "AB", "AA=", "A+AA", "A/AA", "AAAAA", "AA A", "AAB"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    struct buf buf_auto back = {0};
    assert_false(base64url_read(bad[i], strlen(bad[i]), &back));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ownership_grants_and_scopes_decide),
      cmocka_unit_test(scopes_are_written_with_commas_or_blanks),
      cmocka_unit_test(revoking_a_subject_ends_its_tokens_but_not_later_ones),
      cmocka_unit_test(a_ticket_is_good_once_and_for_half_a_minute),
      cmocka_unit_test(a_ticket_is_worth_no_more_than_its_token),
      cmocka_unit_test(tickets_are_bounded_per_subject),
      cmocka_unit_test(of_many_who_redeem_at_once_one_wins),
      cmocka_unit_test(a_link_is_good_for_its_method_path_and_time),
      cmocka_unit_test(what_is_sealed_opens_with_its_context_and_key_alone),
      cmocka_unit_test(base64url_has_one_text_for_one_content),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
