/* Keys: which files are taken, how they are made, and what happens when they change under the daemon's feet. */
#include "forge.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

static struct forge forge;

static int setup(void **state) {
  (void)state;
  forge_open(&forge);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  forge_close(&forge);
  return 0;
}

static enum err open_file(struct keyring **k, const char *name, struct error *e) {
  mem_auto char *path = forge_path(&forge, name);
  struct keyring_options o = {.file = path, .clock = &forge.clock.clock};
  return keyring_open(k, &o, e);
}

static char *token_of(const char *secret) {
  mem_auto char *payload = forge_payload("");
  return forge_hs("{\"alg\":\"HS256\"}", payload, secret, strlen(secret));
}

static enum err verify(struct keyring *k, const char *token) {
  struct principal p;
  enum err status = keyring_verify(k, token, &p, NULL);
  principal_clear(&p);
  return status;
}

static void bad_key_sets_are_refused_with_their_place(void **state) {
  (void)state;
  static const struct {
    const char *text, *why;
  } table[] = {
      {"", "is empty"},
      {"keys: []", "1 to 64 keys"},
      {"keys: {}", "keys"},
      {"key: []", "unknown key `key`"},
      {"keys: [7]", "a key is a map"},
      {"keys: [{alg: HS256, secret: short}]", "32 at least"},
      {"keys: [{alg: HS512, secret: " FORGE_SECRET "}]", "HS512"},
      {"keys: [{alg: none}]", "none"},
      {"keys: [{secret: " FORGE_SECRET "}]", "alg"},
      {"keys: [{alg: HS256}]", "needs one of"},
      {"keys: [{alg: HS256, secret: " FORGE_SECRET ", secret-file: x}]", "needs one of"},
      {"keys: [{alg: HS256, public-key-file: rsa.pub}]", "no key pair"},
      {"keys: [{alg: HS256, secret-file: rsa.pub}]", "rsa.pub holds a secret and is open to others"},
      {"keys: [{alg: HS256, secret-file: rsa.pem}]", "the secret is a PEM file"},
      {"keys: [{alg: RS256, secret: " FORGE_SECRET "}]", "belongs to HS256"},
      {"keys: [{alg: RS256}]", "needs `public-key`"},
      {"keys: [{alg: RS256, public-key-file: ec.pub}]", "needs an RSA key"},
      {"keys: [{alg: RS256, public-key-file: weak.pub}]", "1024 bits"},
      {"keys: [{alg: RS256, public-key-file: none.pub}]", "none.pub"},
      {"keys: [{alg: RS256, public-key: nonsense}]", "no PEM text"},
      {"keys: [{alg: ES256, public-key-file: rsa.pub}]", "P-256"},
      {"keys: [{alg: ES256, private-key-file: p384.pem}]", "P-256"},
      {"keys: [{alg: RS256, public-key-file: rsa.pub, private-key-file: ec.pem}]", "do not belong together"},
      {"keys: [{kid: a, alg: ES256, public-key-file: ec.pub}, {alg: ES256, public-key-file: ec.pub}]",
       "each needs a `kid`"},
      {"keys: [{kid: a, alg: ES256, public-key-file: ec.pub}, {kid: a, alg: ES256, public-key-file: ec.pub}]",
       "names two keys"},
      {"keys: [{alg: HS256, secret: " FORGE_SECRET ", issuer: x}]", "unknown key `issuer`"},
  };
  for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
    struct keyring *k = NULL;
    struct error e = {0};
    forge_write(&forge, "bad.yaml", table[i].text, 0600);
    if (open_file(&k, "bad.yaml", &e) == ERR_OK) fail_msg("taken: %s", table[i].text);
    if (!strstr(e.message, table[i].why)) fail_msg("%s: refused with \"%s\"", table[i].text, e.message);
    assert_null(strstr(e.message, FORGE_SECRET));
    assert_null(k);
  }
}

static void json_is_read_too_and_an_encrypted_key_asks_nobody(void **state) {
  (void)state;
  struct keyring *k;
  struct error e;
  forge_write(&forge, "set.json", "{\"keys\": [{\"kid\": \"a\", \"alg\": \"ES256\", \"public-key-file\": \"ec.pub\"}]}",
              0644);
  assert_int_equal(open_file(&k, "set.json", &e), ERR_OK);
  keyring_close(&k);
  mem_auto char *command = mem_format("cd '%s' && openssl pkcs8 -topk8 -in ec.pem -passout pass:x -out locked.pem && "
                                      "chmod 600 locked.pem",
                                      forge.folder);
  assert_int_equal(system(command), 0);
  forge_write(&forge, "locked.yaml", "keys: [{alg: ES256, private-key-file: locked.pem}]", 0600);
  assert_int_equal(open_file(&k, "locked.yaml", &e), ERR_INVALID);
  assert_non_null(strstr(e.message, "without passphrase"));
}

static void a_secret_open_to_others_is_refused(void **state) {
  (void)state;
  struct keyring *k;
  struct error e;
  forge_write(&forge, "open.yaml", "keys: [{alg: HS256, secret: " FORGE_SECRET "}]", 0644);
  assert_int_equal(open_file(&k, "open.yaml", &e), ERR_DENIED);
  assert_non_null(strstr(e.message, "chmod 600"));
  forge_write(&forge, "group.yaml", "keys: [{alg: HS256, secret: " FORGE_SECRET "}]", 0640);
  assert_int_equal(open_file(&k, "group.yaml", &e), ERR_OK);
  keyring_close(&k);
}

/* ---- a key of one's own ----------------------------------------------------------------------------------------- */

static void *open_own(void *context) {
  struct keyring *k = NULL;
  struct keyring_options o = {.own_file = context, .clock = &forge.clock.clock};
  return keyring_open(&k, &o, NULL) ? NULL : k;
}

static void of_many_that_make_it_at_once_all_get_the_same_key(void **state) {
  (void)state;
  enum { MANY = 8 };
  pthread_t threads[MANY];
  struct keyring *rings[MANY];
  struct stat s;
  mem_auto char *path = forge_path(&forge, "own.key");
  struct principal ann = {.subject = TEXT("ann"), .scopes = SCOPE_READ};
  char *token;
  for (int i = 0; i < MANY; i++) pthread_create(&threads[i], NULL, open_own, path);
  for (int i = 0; i < MANY; i++) pthread_join(threads[i], (void **)&rings[i]);
  for (int i = 0; i < MANY; i++) assert_non_null(rings[i]);
  assert_int_equal(keyring_mint(rings[0], &ann, &token, NULL), ERR_OK);
  for (int i = 0; i < MANY; i++) assert_int_equal(verify(rings[i], token), ERR_OK);
  for (int i = 0; i < MANY; i++) keyring_close(&rings[i]);
  free(token);
  assert_int_equal(stat(path, &s), 0);
  assert_int_equal(s.st_mode & 07777, 0600);
  assert_int_equal(s.st_nlink, 1);
}

static void a_key_of_ones_own_is_a_secret_that_other_programs_can_use(void **state) {
  (void)state;
  struct error e;
  mem_auto char *path = forge_path(&forge, "mine.key");
  struct keyring *k = open_own(path);
  mem_auto char *text = forge_read(&forge, "mine.key");
  text[strcspn(text, "\n")] = '\0';
  mem_auto char *token = token_of(text);
  assert_int_equal(verify(k, token), ERR_OK);
  keyring_close(&k);
  assert_int_equal(chmod(path, 0604), 0);
  struct keyring_options o = {.own_file = path};
  assert_int_equal(keyring_open(&k, &o, &e), ERR_DENIED);
  forge_write(&forge, "mine.key", "too short\n", 0600);
  assert_int_equal(keyring_open(&k, &o, &e), ERR_INVALID);
  assert_non_null(strstr(e.message, "mine.key"));
  struct keyring_options nothing = {0};
  assert_int_equal(keyring_open(&k, &nothing, &e), ERR_USAGE);
}

static void beside_a_key_set_the_own_secret_signs_no_tokens(void **state) {
  (void)state;
  struct keyring *k;
  mem_auto char *own = forge_path(&forge, "beside.key"), *set = forge_path(&forge, "beside.yaml");
  forge_write(&forge, "beside.yaml", "keys: [{alg: RS256, public-key-file: rsa.pub}]", 0600);
  struct keyring_options o = {.file = set, .own_file = own, .clock = &forge.clock.clock};
  assert_int_equal(keyring_open(&k, &o, NULL), ERR_OK);
  mem_auto char *text = forge_read(&forge, "beside.key");
  text[strcspn(text, "\n")] = '\0';
  mem_auto char *token = token_of(text);
  assert_int_equal(verify(k, token), ERR_DENIED);
  char *sealed;
  assert_int_equal(seal(k, "x", "plain", &sealed, NULL), ERR_OK);
  free(sealed);
  keyring_close(&k);
}

/* ---- changes ---------------------------------------------------------------------------------------------------- */

#define OTHER "ffffffffffffffffffffffffffffffff-other"

static void a_changed_file_is_taken_and_a_broken_one_told_once(void **state) {
  (void)state;
  struct keyring *k;
  struct error e;
  mem_auto char *old = token_of(FORGE_SECRET), *new = token_of(OTHER);
  forge_write(&forge, "hot.key", FORGE_SECRET, 0600);
  forge_write(&forge, "hot.yaml", "keys: [{alg: HS256, secret-file: hot.key}]", 0600);
  assert_int_equal(open_file(&k, "hot.yaml", &e), ERR_OK);
  assert_int_equal(verify(k, old), ERR_OK);
  assert_int_equal(verify(k, new), ERR_DENIED);
  forge_write(&forge, "hot.key", OTHER, 0600); /* not the set itself: a file that it names */
  assert_int_equal(keyring_reload(k, false, &e), ERR_OK);
  assert_int_equal(verify(k, old), ERR_DENIED);
  assert_int_equal(verify(k, new), ERR_OK);
  forge_write(&forge, "hot.yaml", "keys: [{alg: HS256, secret-file: gone.key}]", 0600);
  assert_int_not_equal(keyring_reload(k, false, &e), ERR_OK);
  assert_int_equal(keyring_reload(k, false, &e), ERR_OK);
  assert_int_not_equal(keyring_reload(k, true, &e), ERR_OK);
  assert_int_equal(verify(k, new), ERR_OK);
  forge_write(&forge, "gone.key", FORGE_SECRET, 0600); /* what was missing has come */
  assert_int_equal(keyring_reload(k, false, &e), ERR_OK);
  assert_int_equal(verify(k, old), ERR_OK);
  keyring_close(&k);
}

struct race {
  struct keyring *k;
  const char *a, *b; /* tokens; at any moment exactly one of them is good, and each check sees a whole set */
  atomic_bool over;
  atomic_uint checks, neither;
};

static void *check_on_and_on(void *context) {
  struct race *r = context;
  while (!atomic_load(&r->over)) {
    verify(r->k, r->a);
    verify(r->k, r->b);
    atomic_fetch_add(&r->checks, 1);
  }
  return NULL;
}

static void reloading_while_tokens_are_checked_disturbs_nobody(void **state) {
  (void)state;
  pthread_t threads[4];
  mem_auto char *a = token_of(FORGE_SECRET), *b = token_of(OTHER);
  struct race r = {.a = a, .b = b};
  forge_write(&forge, "race.yaml", "keys: [{alg: HS256, secret: " FORGE_SECRET "}]", 0600);
  assert_int_equal(open_file(&r.k, "race.yaml", NULL), ERR_OK);
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, check_on_and_on, &r);
  for (int i = 0; i < 60; i++) {
    bool odd = i % 2;
    forge_write(&forge, "race.yaml",
                odd ? "keys: [{alg: HS256, secret: " FORGE_SECRET "}]" : "keys: [{alg: HS256, secret: " OTHER "}]",
                0600);
    assert_int_equal(keyring_reload(r.k, false, NULL), ERR_OK);
    assert_int_equal(verify(r.k, odd ? a : b), ERR_OK);
    assert_int_equal(verify(r.k, odd ? b : a), ERR_DENIED);
  }
  atomic_store(&r.over, true);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  assert_true(atomic_load(&r.checks) > 0);
  keyring_close(&r.k);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bad_key_sets_are_refused_with_their_place),
      cmocka_unit_test(json_is_read_too_and_an_encrypted_key_asks_nobody),
      cmocka_unit_test(a_secret_open_to_others_is_refused),
      cmocka_unit_test(of_many_that_make_it_at_once_all_get_the_same_key),
      cmocka_unit_test(a_key_of_ones_own_is_a_secret_that_other_programs_can_use),
      cmocka_unit_test(beside_a_key_set_the_own_secret_signs_no_tokens),
      cmocka_unit_test(a_changed_file_is_taken_and_a_broken_one_told_once),
      cmocka_unit_test(reloading_while_tokens_are_checked_disturbs_nobody),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
