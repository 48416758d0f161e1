/* Tokens: what is taken, and every forgery refused for its own reason. */
#include "forge.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static struct forge forge;
static struct keyring *ring; /* hs, rsa, es */

static struct keyring *open_ring(const char *keys, const char *issuer, const char *audience, unsigned skew_s) {
  struct keyring *k;
  struct error e;
  mem_auto char *path = forge_path(&forge, "keys.yaml");
  forge_write(&forge, "keys.yaml", keys, 0600);
  struct keyring_options o = {
      .file = path, .issuer = issuer, .audience = audience, .skew_s = skew_s, .clock = &forge.clock.clock};
  if (keyring_open(&k, &o, &e)) fail_msg("%s", e.message);
  return k;
}

static const char three_keys[] = "keys:\n"
                                 "  - {kid: hs, alg: HS256, secret: " FORGE_SECRET "}\n"
                                 "  - {kid: rsa, alg: RS256, public-key-file: rsa.pub}\n"
                                 "  - {kid: es, alg: ES256, public-key-file: ec.pub}\n";
static const char one_key[] = "keys: [{alg: HS256, secret: " FORGE_SECRET "}]\n";

static int setup(void **state) {
  (void)state;
  forge_open(&forge);
  ring = open_ring(three_keys, NULL, NULL, 0);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  keyring_close(&ring);
  forge_close(&forge);
  return 0;
}

static char *hs(const char *header, const char *payload) {
  return forge_hs(header, payload, FORGE_SECRET, strlen(FORGE_SECRET));
}

static void refused(struct keyring *k, const char *token, const char *why) {
  struct principal p;
  struct error e = {0};
  enum err status = keyring_verify(k, token, &p, &e);
  if (status != ERR_DENIED) fail_msg("taken, though: %s", why);
  if (!strstr(e.message, why)) fail_msg("refused with \"%s\", not for \"%s\"", e.message, why);
  if (strlen(token) > 20) assert_null(strstr(e.message, token));
  assert_null(p.subject);
}

static void taken(struct keyring *k, const char *token, struct principal *p) {
  struct error e;
  if (keyring_verify(k, token, p, &e)) fail_msg("%s (%s)", e.message, e.debug);
  assert_string_equal(p->subject, "ann");
}

static void good_tokens_of_each_algorithm_are_taken(void **state) {
  (void)state;
  mem_auto char *payload = forge_payload(",\"jti\":\"t1\",\"iat\":1799999999.5,\"grants\":[\"job:j1\",\"asset:a 1\"]");
  mem_auto char *a = hs("{\"alg\":\"HS256\",\"kid\":\"hs\"}", payload);
  mem_auto char *b = forge_pair("{\"alg\":\"RS256\",\"kid\":\"rsa\",\"typ\":\"JWT\"}", payload, forge.rsa);
  mem_auto char *c = forge_pair("{\"typ\":\"jwt\",\"alg\":\"ES256\",\"kid\":\"es\"}", payload, forge.ec);
  const char *tokens[] = {a, b, c};
  for (int i = 0; i < 3; i++) {
    struct principal p;
    taken(ring, tokens[i], &p);
    assert_int_equal(p.scopes, SCOPE_READ | SCOPE_SUBMIT);
    assert_int_equal(p.grant_count, 2);
    assert_string_equal(p.grants[1], "asset:a 1");
    assert_string_equal(p.token_id, "t1");
    assert_int_equal(p.expires_us, (NOW_S + 3600) * INT64_C(1000000));
    assert_int_equal(p.issued_us, INT64_C(1799999999500000));
    principal_clear(&p);
  }
}

/* ---- what an attacker tries with the header --------------------------------------------------------------------- */

static void forged_headers_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *header, *why;
  } table[] = {
      {"{\"alg\":\"HS256\"}", "names no key"},
      {"{\"alg\":\"HS256\",\"kid\":\"nobody\"}", "not known here"},
      {"{\"alg\":\"HS256\",\"kid\":7}", "`kid` is no text"},
      {"{\"alg\":\"HS256\",\"kid\":null}", "`kid` is no text"},
      {"{\"alg\":\"none\",\"kid\":\"hs\"}", "`alg`) is not its key's, HS256"},
      {"{\"alg\":\"None\",\"kid\":\"hs\"}", "`alg`) is not its key's"},
      {"{\"alg\":\"hs256\",\"kid\":\"hs\"}", "`alg`) is not its key's"},
      {"{\"alg\":\"HS512\",\"kid\":\"hs\"}", "`alg`) is not its key's"},
      {"{\"alg\":\"RS256\",\"kid\":\"hs\"}", "`alg`) is not its key's"},
      {"{\"alg\":\"HS256\",\"kid\":\"rsa\"}", "`alg`) is not its key's, RS256"},
      {"{\"alg\":\"HS256\",\"kid\":\"es\"}", "`alg`) is not its key's, ES256"},
      {"{\"alg\":[\"HS256\"],\"kid\":\"hs\"}", "names no algorithm"},
      {"{\"kid\":\"hs\"}", "names no algorithm"},
      {"{\"alg\":\"HS256\",\"kid\":\"hs\",\"crit\":[\"b64\"],\"b64\":false}", "`crit`"},
      {"{\"alg\":\"HS256\",\"kid\":\"hs\",\"crit\":[]}", "`crit`"},
      {"{\"alg\":\"HS256\",\"kid\":\"hs\",\"typ\":\"JWE\"}", "`typ`"},
      {"{\"alg\":\"HS256\",\"kid\":\"hs\",\"typ\":1}", "`typ`"},
      {"{\"alg\":\"none\",\"alg\":\"HS256\",\"kid\":\"hs\"}", "header is no JSON object"},
      {"[\"HS256\"]", "header is no JSON object"},
      {"{\"alg\":\"HS256\",\"kid\":\"hs\"", "header is no JSON object"},
      {"", "header is no JSON object"},
  };
  mem_auto char *payload = forge_payload("");
  for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
    mem_auto char *token = hs(table[i].header, payload);
    refused(ring, token, table[i].why);
  }
}

static void a_public_key_is_no_secret(void **state) {
  (void)state;
  mem_auto char *payload = forge_payload("");
  mem_auto char *pem = forge_read(&forge, "rsa.pub");
  mem_auto char *token = forge_hs("{\"alg\":\"HS256\",\"kid\":\"rsa\"}", payload, pem, strlen(pem));
  refused(ring, token, "`alg`) is not its key's, RS256");
  mem_auto char *as_rsa = forge_hs("{\"alg\":\"RS256\",\"kid\":\"rsa\"}", payload, pem, strlen(pem));
  refused(ring, as_rsa, "signature does not match");
}

static void unsigned_and_wrongly_signed_tokens_are_refused(void **state) {
  (void)state;
  mem_auto char *payload = forge_payload("");
  mem_auto char *none = forge_none("{\"alg\":\"none\",\"kid\":\"hs\"}", payload);
  mem_auto char *empty = forge_none("{\"alg\":\"HS256\",\"kid\":\"hs\"}", payload);
  mem_auto char *other = forge_hs("{\"alg\":\"HS256\",\"kid\":\"hs\"}", payload, "another secret", 14);
  mem_auto char *nobody = forge_hs("{\"alg\":\"HS256\",\"kid\":\"hs\"}", payload, "", 0);
  mem_auto char *swapped = forge_pair("{\"alg\":\"RS256\",\"kid\":\"rsa\"}", payload, forge.ec);
  mem_auto char *swapped_too = forge_pair("{\"alg\":\"ES256\",\"kid\":\"es\"}", payload, forge.rsa);
  refused(ring, none, "`alg`) is not its key's");
  refused(ring, empty, "signature does not match");
  refused(ring, other, "signature does not match");
  refused(ring, nobody, "signature does not match");
  refused(ring, swapped, "signature does not match");
  refused(ring, swapped_too, "signature does not match");
}

/* One bit anywhere, and it is another token. */
static void every_changed_character_is_noticed(void **state) {
  (void)state;
  mem_auto char *payload = forge_payload("");
  mem_auto char *token = hs("{\"alg\":\"HS256\",\"kid\":\"hs\"}", payload);
  for (size_t i = 0; token[i]; i++) {
    struct principal p;
    char kept = token[i];
    token[i] = kept == 'A' ? 'B' : 'A';
    assert_int_equal(keyring_verify(ring, token, &p, NULL), ERR_DENIED);
    token[i] = kept;
  }
}

static void malformed_texts_are_refused(void **state) {
  (void)state;
  mem_auto char *payload = forge_payload("");
  mem_auto char *good = hs("{\"alg\":\"HS256\",\"kid\":\"hs\"}", payload);
  mem_auto char *padded = mem_format("%s=", good), *blank = mem_format(" %s", good), *four = mem_format("%s.a", good);
  mem_auto char *line = mem_format("%s\n", good);
  refused(ring, "", "three parts");
  refused(ring, "a.b", "three parts");
  refused(ring, "..", "header is no JSON object");
  refused(ring, four, "three parts");
  refused(ring, padded, "signature is not in base64url");
  refused(ring, line, "signature is not in base64url");
  refused(ring, blank, "header is not in base64url");
  mem_auto char *huge = mem_alloc(9000);
  memset(huge, 'a', 8999);
  refused(ring, huge, "larger than 8 KiB");
}

/* libjwt's JSON reader would go 2,048 levels down on a thread of 100 KB before any signature is looked at. */
static void deep_nesting_is_refused_before_the_library_sees_it(void **state) {
  (void)state;
  struct buf buf_auto deep = {0};
  buf_text(&deep, "{\"a\":");
  for (int i = 0; i < 1900; i++) buf_char(&deep, '[');
  mem_auto char *in_payload = hs("{\"alg\":\"HS256\",\"kid\":\"hs\"}", buf_string(&deep));
  mem_auto char *in_header = hs(buf_string(&deep), "{}");
  refused(ring, in_payload, "payload is no JSON object");
  refused(ring, in_header, "header is no JSON object");
}

/* ---- what is wrong although it is signed ------------------------------------------------------------------------ */

#define REST "\"sub\":\"ann\",\"exp\":1800003600"

static void claims_are_read_by_type(void **state) {
  (void)state;
  static const struct {
    const char *payload, *why;
  } table[] = {
      {"{\"sub\":\"ann\"}", "`exp` is required"},
      {"{\"sub\":\"ann\",\"exp\":\"1800003600\"}", "`exp` has the wrong type"},
      {"{\"sub\":\"ann\",\"exp\":true}", "`exp` has the wrong type"},
      {"{\"sub\":\"ann\",\"exp\":null}", "`exp` has the wrong type"},
      {"{\"sub\":\"ann\",\"exp\":[1800003600]}", "`exp` has the wrong type"},
      {"{\"sub\":\"ann\",\"exp\":0}", "no time that can be"},
      {"{\"sub\":\"ann\",\"exp\":-1}", "no time that can be"},
      {"{\"sub\":\"ann\",\"exp\":9223372036854775807}", "no time that can be"},
      {"{\"sub\":\"ann\",\"exp\":1e300}", "no time that can be"},
      {"{\"sub\":\"ann\",\"exp\":99999999999999999999}", "payload is no JSON object"},
      {"{\"sub\":\"ann\",\"exp\":1800000000}", "has expired"},
      {"{\"sub\":\"ann\",\"exp\":1799999999.9}", "has expired"},
      {"{\"sub\":\"ann\",\"exp\":1,\"exp\":1800003600}", "payload is no JSON object"},
      {"{" REST ",\"sub\":\"bob\"}", "payload is no JSON object"},
      {"{\"exp\":1800003600}", "`sub` is required"},
      {"{\"exp\":1800003600,\"sub\":7}", "`sub` has the wrong type"},
      {"{\"exp\":1800003600,\"sub\":\"\"}", "`sub` is empty"},
      {"{\"exp\":1800003600,\"sub\":\"a\\nb\"}", "`sub` is empty"},
      {"{\"exp\":1800003600,\"sub\":\"a\\u0000b\"}", "payload is no JSON object"},
      {"{" REST ",\"nbf\":1800000060}", "not valid yet"},
      {"{" REST ",\"nbf\":\"1\"}", "`nbf` has the wrong type"},
      {"{" REST ",\"iat\":1800000060}", "issued in the future"},
      {"{" REST ",\"iat\":{}}", "`iat` has the wrong type"},
      {"{" REST ",\"scope\":7}", "`scope` has the wrong type"},
      {"{" REST ",\"scope\":[\"read\",7]}", "`scope` has the wrong type"},
      {"{" REST ",\"jti\":7}", "`jti` has the wrong type"},
      {"{" REST ",\"iss\":[\"x\"]}", "`iss` has the wrong type"},
      {"{" REST ",\"aud\":7}", "`aud` has the wrong type"},
      {"{" REST ",\"aud\":[7]}", "`aud` has the wrong type"},
      {"{" REST ",\"grants\":\"job:1\"}", "`grants` has the wrong type"},
      {"{" REST ",\"grants\":[\"job:\"]}", "`grants` are not"},
      {"{" REST ",\"grants\":[\"everything\"]}", "`grants` are not"},
      {"{" REST ",\"grants\":[{}]}", "`grants` are not"},
      {"[]", "payload is no JSON object"},
      {"\"ann\"", "payload is no JSON object"},
  };
  for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
    mem_auto char *token = hs("{\"alg\":\"HS256\",\"kid\":\"hs\"}", table[i].payload);
    refused(ring, token, table[i].why);
  }
}

static void issuer_and_audience_are_asked_for_when_configured(void **state) {
  (void)state;
  struct keyring *k = open_ring(one_key, "https://id.example.org", "stagemill", 0);
  static const struct {
    const char *payload, *why; /* NULL: taken */
  } table[] = {
      {"{" REST ",\"iss\":\"https://id.example.org\",\"aud\":\"stagemill\"}", NULL},
      {"{" REST ",\"iss\":\"https://id.example.org\",\"aud\":[\"other\",\"stagemill\"]}", NULL},
      {"{" REST ",\"iss\":\"https://id.example.org\",\"aud\":[\"other\"]}", "another audience"},
      {"{" REST ",\"iss\":\"https://id.example.org\",\"aud\":[]}", "another audience"},
      {"{" REST ",\"iss\":\"https://id.example.org\"}", "another audience"},
      {"{" REST ",\"aud\":\"stagemill\"}", "another issuer"},
      {"{" REST ",\"iss\":\"https://id.example.org.evil\",\"aud\":\"stagemill\"}", "another issuer"},
  };
  for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
    struct principal p = {0};
    mem_auto char *token = hs("{\"alg\":\"HS256\"}", table[i].payload);
    if (table[i].why)
      refused(k, token, table[i].why);
    else
      taken(k, token, &p);
    principal_clear(&p);
  }
  keyring_close(&k);
}

static void scopes_of_others_are_passed_over_and_follow_stays_narrow(void **state) {
  (void)state;
  static const struct {
    const char *scope;
    unsigned scopes;
  } table[] = {{"\"openid read profile\"", SCOPE_READ},
               {"[\"admin\",\"read submit\"]", SCOPE_ADMIN | SCOPE_READ | SCOPE_SUBMIT},
               {"\"read,submit,pipelines\"", SCOPE_READ | SCOPE_SUBMIT | SCOPE_PIPELINES},
               {"\"follow admin read\"", SCOPE_FOLLOW},
               {"\"administrator\"", 0},
               {"\"\"", 0}};
  for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
    struct principal p;
    mem_auto char *payload = mem_format("{" REST ",\"scope\":%s}", table[i].scope);
    mem_auto char *token = hs("{\"alg\":\"HS256\",\"kid\":\"hs\"}", payload);
    taken(ring, token, &p);
    assert_int_equal(p.scopes, table[i].scopes);
    principal_clear(&p);
  }
}

static void a_lone_key_needs_no_name_and_ends_are_exact(void **state) {
  (void)state;
  struct principal p;
  struct keyring *k = open_ring(one_key, NULL, NULL, 0), *late = open_ring(one_key, NULL, NULL, 60);
  mem_auto char *payload = forge_payload(",\"nbf\":1800000005,\"iat\":1800000009");
  mem_auto char *token = hs("{\"alg\":\"HS256\"}", payload), *named = hs("{\"alg\":\"HS256\",\"kid\":\"x\"}", payload);
  taken(k, token, &p);
  principal_clear(&p);
  taken(k, named, &p);
  principal_clear(&p);
  forge.clock.wall_us += 3600 * INT64_C(1000000) - 1;
  taken(k, token, &p);
  principal_clear(&p);
  forge.clock.wall_us += 1;
  refused(k, token, "has expired");
  taken(late, token, &p);
  principal_clear(&p);
  forge.clock.wall_us += 60 * 1000000;
  refused(late, token, "has expired");
  forge.clock.wall_us = NOW_S * INT64_C(1000000);
  keyring_close(&k);
  keyring_close(&late);
  struct keyring_options o = {.own_file = "x", .skew_s = 61};
  struct error e;
  assert_int_equal(keyring_open(&k, &o, &e), ERR_USAGE);
}

/* ---- another program's tokens, and ours in another program's hands ---------------------------------------------- */

static char *run(const char *command) {
  struct buf out = {0};
  char line[16384];
  FILE *pipe = popen(command, "r");
  assert_non_null(pipe);
  while (fgets(line, sizeof(line), pipe)) buf_text(&out, line);
  assert_int_equal(pclose(pipe), 0);
  return buf_take(&out);
}

static void tokens_of_pyjwt_are_taken(void **state) {
  (void)state;
  mem_auto char *command = mem_format("cd '%s' && /usr/bin/python3 -c \""
                                      "import jwt;p={'sub':'ann','exp':%d,'scope':'read','aud':['a','b']}\n"
                                      "print(jwt.encode(p,'" FORGE_SECRET "','HS256',{'kid':'hs'}))\n"
                                      "print(jwt.encode(p,open('rsa.pem').read(),'RS256',{'kid':'rsa'}))\n"
                                      "print(jwt.encode(p,open('ec.pem').read(),'ES256',{'kid':'es'}))\"",
                                      forge.folder, NOW_S + 60);
  mem_auto char *tokens = run(command);
  int count = 0;
  for (char *rest = tokens, *token; (token = strsep(&rest, "\n")) && *token; count++) {
    struct principal p;
    taken(ring, token, &p);
    principal_clear(&p);
  }
  assert_int_equal(count, 3);
}

static void pyjwt_takes_what_is_minted_here(void **state) {
  (void)state;
  static const struct {
    const char *keys, *alg, *key;
  } table[] = {
      {one_key, "HS256", "'" FORGE_SECRET "'"},
      {"keys: [{kid: r, alg: RS256, private-key-file: rsa.pem}]", "RS256", "open('rsa.pub').read()"},
      {"keys: [{kid: e, alg: ES256, private-key-file: ec.pem, public-key-file: ec.pub}]", "ES256",
       "open('ec.pub').read()"},
  };
  char *grants[] = {TEXT("job:1")};
  struct principal who = {
      .subject = TEXT("ann"), .scopes = SCOPE_READ | SCOPE_ADMIN, .grants = grants, .grant_count = 1};
  for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
    struct keyring *k = open_ring(table[i].keys, "me", "them", 0);
    struct principal p;
    struct error e;
    char *token;
    assert_int_equal(keyring_mint(k, &who, &token, &e), ERR_OK);
    taken(k, token, &p);
    assert_int_equal(p.scopes, who.scopes);
    assert_int_equal(p.expires_us, (NOW_S + 3600) * INT64_C(1000000));
    assert_non_null(p.token_id);
    mem_auto char *command = mem_format(
        "cd '%s' && /usr/bin/python3 -c \"import jwt;c=jwt.decode('%s',%s,['%s'],audience='them',issuer='me',"
        "options={'verify_iat':False})\nprint(c['sub'],c['scope'],c['grants'][0],c['exp'])\"",
        forge.folder, token, table[i].key, table[i].alg);
    mem_auto char *seen = run(command);
    assert_string_equal(seen, "ann read admin job:1 1800003600\n");
    principal_clear(&p);
    free(token);
    keyring_close(&k);
  }
}

static void what_would_be_refused_is_not_minted(void **state) {
  (void)state;
  struct error e;
  char *token;
  struct keyring *k = open_ring(one_key, NULL, NULL, 0);
  struct principal nobody = {.scopes = SCOPE_READ}, past = {.subject = TEXT("ann"), .expires_us = 1000000};
  assert_int_equal(keyring_mint(k, &nobody, &token, &e), ERR_USAGE);
  assert_non_null(strstr(e.message, "`sub` is required"));
  assert_int_equal(keyring_mint(k, &past, &token, &e), ERR_USAGE);
  assert_non_null(strstr(e.message, "has expired"));
  keyring_close(&k);
  k = open_ring("keys: [{alg: RS256, public-key-file: rsa.pub}]", NULL, NULL, 0);
  struct principal ann = {.subject = TEXT("ann")};
  assert_int_equal(keyring_mint(k, &ann, &token, &e), ERR_UNSUPPORTED);
  keyring_close(&k);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(good_tokens_of_each_algorithm_are_taken),
      cmocka_unit_test(forged_headers_are_refused),
      cmocka_unit_test(a_public_key_is_no_secret),
      cmocka_unit_test(unsigned_and_wrongly_signed_tokens_are_refused),
      cmocka_unit_test(every_changed_character_is_noticed),
      cmocka_unit_test(malformed_texts_are_refused),
      cmocka_unit_test(deep_nesting_is_refused_before_the_library_sees_it),
      cmocka_unit_test(claims_are_read_by_type),
      cmocka_unit_test(issuer_and_audience_are_asked_for_when_configured),
      cmocka_unit_test(scopes_of_others_are_passed_over_and_follow_stays_narrow),
      cmocka_unit_test(a_lone_key_needs_no_name_and_ends_are_exact),
      cmocka_unit_test(tokens_of_pyjwt_are_taken),
      cmocka_unit_test(pyjwt_takes_what_is_minted_here),
      cmocka_unit_test(what_would_be_refused_is_not_minted),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
