/* The key set file: read by the strict front door, all problems at once. */
#include "auth/keyset.h"

#include <openssl/crypto.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/value.h"
#include "config/schema.h"

static const struct rule set_rules[] = {
    {.key = "keys", .takes = RULE_LIST, .flags = SM_REQUIRED, .summary = "the keys that tokens are checked with"}, {0}};

static const struct rule key_rules[] = {
    {.key = "kid", .takes = SM_TAKES_TEXT, .summary = "name of the key, as tokens give it; optional for a single key"},
    {.key = "alg",
     .takes = SM_TAKES_KEYWORD,
     .flags = SM_REQUIRED,
     .choices = "HS256|RS256|ES256",
     .summary = "the one algorithm that this key is for"},
    {.key = "secret", .takes = SM_TAKES_TEXT, .summary = "HS256: the shared secret, 32 bytes at least"},
    {.key = "secret-file", .takes = SM_TAKES_TEXT, .summary = "HS256: file that holds it"},
    {.key = "public-key", .takes = SM_TAKES_TEXT, .summary = "RS256, ES256: PEM text"},
    {.key = "public-key-file", .takes = SM_TAKES_TEXT, .summary = "RS256, ES256: PEM file"},
    {.key = "private-key-file", .takes = SM_TAKES_TEXT, .summary = "RS256, ES256: PEM file; this key can also sign"},
    {0}};

struct loading {
  struct keyset *set;
  char *folder;
  struct stamps *stamps;
  struct report *report;
  bool inline_secret; /* the file itself holds one */
};

static void free_set(struct keyset *set) {
  for (size_t i = 0; i < set->count; i++) key_clear(&set->keys[i]);
  free(set->keys);
  free(set);
}

static struct keyset *set_new(size_t room) {
  struct keyset *set = mem_alloc(sizeof(*set));
  atomic_init(&set->references, 1);
  set->keys = mem_array(room, sizeof(*set->keys));
  return set;
}

struct keyset *keyset_hold(struct keyset *set) {
  atomic_fetch_add(&set->references, 1);
  return set;
}

void keyset_release(struct keyset **set) {
  if (*set && atomic_fetch_sub(&(*set)->references, 1) == 1) free_set(*set);
  *set = NULL;
}

struct keyset *keyset_of_secret(const char *kid, const char *secret) {
  struct keyset *set = set_new(1);
  struct key *key = &set->keys[set->count++];
  key->kid = mem_text(kid);
  key->alg = KEY_HS256;
  buf_text(&key->verify, secret);
  buf_text(&key->sign, secret);
  return set;
}

/* ---- one key ---------------------------------------------------------------------------------------------------- */

/* The text of a key of the map, from the file itself or from the one that it names. */
static enum err bytes_of(struct loading *l, const struct node *node, const char *name, bool secret, struct buf *out,
                         struct error *e) {
  mem_auto char *named = mem_format("%s-file", name);
  const char *text = node_text(node, name), *path = node_text(node, named);
  if (text && secret) l->inline_secret = true;
  if (text) buf_text(out, text);
  if (!path) return ERR_OK;
  mem_auto char *absolute = fs_absolute(l->folder, path);
  return key_file_read(absolute, secret, KEY_BYTES_MAX, out, l->stamps, e);
}

/* What a key of this algorithm is made of, and what does not belong to it. */
static const char *misfit(const struct node *node, enum key_alg alg) {
  bool secret = node_get(node, "secret"), secret_file = node_get(node, "secret-file");
  bool public = node_get(node, "public-key"), public_file = node_get(node, "public-key-file");
  bool private = node_get(node, "private-key-file");
  if (alg == KEY_HS256 && (public || public_file || private))
    return "HS256 takes `secret` or `secret-file`, no key pair";
  if (alg == KEY_HS256 && secret == secret_file) return "HS256 needs one of `secret` and `secret-file`";
  if (alg == KEY_HS256) return NULL;
  if (secret || secret_file) return "a secret belongs to HS256";
  if (public && public_file) return "`public-key` and `public-key-file` exclude each other";
  return public || public_file || private ? NULL : "needs `public-key`, `public-key-file` or `private-key-file`";
}

static enum err fill(struct loading *l, const struct node *node, struct key *key, struct error *e) {
  struct buf first = {0}, second = {0};
  bool shared = key->alg == KEY_HS256;
  enum err status = bytes_of(l, node, shared ? "secret" : "public-key", shared, &first, e);
  if (!status && !shared) status = bytes_of(l, node, "private-key", true, &second, e);
  if (!status) status = shared ? key_take_secret(key, &first, e) : key_take_pem(key, &first, &second, e);
  if (!status && shared) log_secret_add(buf_string(&key->verify));
  if (first.data) OPENSSL_cleanse(first.data, first.size);
  if (second.data) OPENSSL_cleanse(second.data, second.size);
  buf_free(&first);
  buf_free(&second);
  return status;
}

static bool kid_is_taken(const struct keyset *set, const char *kid) {
  for (size_t i = 0; i < set->count; i++)
    if (set->keys[i].kid && strcmp(set->keys[i].kid, kid) == 0) return true;
  return false;
}

static bool check_kid(struct loading *l, const struct node *node, const char *kid, size_t keys) {
  const char *problem = NULL;
  if (!kid && keys > 1) problem = "where there are several keys, each needs a `kid`";
  if (kid && (!*kid || strlen(kid) > 128)) problem = "`kid` has 1 to 128 characters";
  if (kid && kid_is_taken(l->set, kid)) problem = "this `kid` names two keys";
  if (problem) node_problem(l->report, PROBLEM_ERROR, node, NULL, "%s", problem);
  return !problem;
}

static enum key_alg alg_of(const char *word) {
  for (enum key_alg alg = KEY_HS256; alg <= KEY_ES256; alg++)
    if (strcmp(key_alg_word(alg), word) == 0) return alg;
  return KEY_HS256;
}

static void load_key(struct loading *l, const struct node *node, size_t keys) {
  value_auto struct value *v = NULL;
  struct schema schema = {.what = "a key", .rules = key_rules};
  size_t before = report_errors(l->report);
  if (node->kind != NODE_MAP) {
    node_problem(l->report, PROBLEM_ERROR, node, NULL, "a key is a map: kid, alg and its bytes");
    return;
  }
  schema_check(&schema, node, node, l->report, &v);
  if (report_errors(l->report) != before) return;
  const char *kid = value_get_text(v, "kid", NULL);
  struct key key = {.alg = alg_of(value_get_text(v, "alg", ""))};
  const char *problem = misfit(node, key.alg);
  struct error e;
  if (problem) node_problem(l->report, PROBLEM_ERROR, node, NULL, "%s", problem);
  if (problem || !check_kid(l, node, kid, keys)) return;
  if (fill(l, node, &key, &e)) {
    node_problem(l->report, PROBLEM_ERROR, node, NULL, "%s", e.message);
    key_clear(&key);
    return;
  }
  key.kid = mem_text(kid);
  l->set->keys[l->set->count++] = key;
}

/* ---- the file --------------------------------------------------------------------------------------------------- */

static void load_keys(struct loading *l, const struct node *root) {
  struct schema schema = {.what = "a key set", .rules = set_rules};
  schema_check(&schema, root, root, l->report, NULL);
  const struct node *keys = node_get(root, "keys");
  if (!keys || keys->kind != NODE_LIST) return;
  if (!keys->count || keys->count > KEYS_MAX) {
    node_problem(l->report, PROBLEM_ERROR, keys, NULL, "a key set has 1 to %d keys, not %zu", KEYS_MAX, keys->count);
    return;
  }
  for (size_t i = 0; i < keys->count; i++) load_key(l, keys->items[i], keys->count);
}

/* The first problem with its place; never the source line, for that may hold a secret. */
static enum err refuse(const struct report *report, const char *file, struct error *e) {
  const struct problem *p = report_at(report, 0);
  size_t more = report_count(report) - 1;
  error_set(e, ERR_INVALID, "%s:%zu:%zu: %s%s%s", file, p->line, p->column, p->message, p->hint ? "; " : "",
            p->hint ? p->hint : "");
  if (more) error_debug(e, "%zu more problems", more);
  return ERR_INVALID;
}

static enum err check_mode(const struct loading *l, const char *file, struct error *e) {
  buf_auto struct buf again = {0};
  struct stamps ignored = {0};
  enum err status = l->inline_secret ? key_file_read(file, true, KEYSET_BYTES_MAX, &again, &ignored, e) : ERR_OK;
  if (again.data) OPENSSL_cleanse(again.data, again.size);
  stamps_clear(&ignored);
  return status;
}

static enum err load(struct loading *l, const char *file, const struct buf *text, struct error *e) {
  struct tree *tree = tree_new(NULL);
  struct node *root = NULL;
  tree_parse(tree, buf_string(text), text->size, file, l->folder, l->report, &root);
  if (root) load_keys(l, root);
  enum err status = ERR_OK;
  if (report_errors(l->report) || !root)
    status = report_count(l->report) ? refuse(l->report, file, e) : error_set(e, ERR_INVALID, "%s: no key set", file);
  else
    status = check_mode(l, file, e);
  tree_free(&tree);
  return status;
}

enum err keyset_load(struct keyset **set, const char *file, struct stamps *stamps, struct error *e) {
  struct buf text = {0};
  mem_auto char *absolute = fs_absolute(NULL, file);
  struct loading l = {.set = set_new(KEYS_MAX), .stamps = stamps, .report = report_new()};
  l.folder = mem_text_n(absolute, (size_t)(fs_base_name(absolute) - absolute));
  enum err status = key_file_read(file, false, KEYSET_BYTES_MAX, &text, stamps, e);
  if (!status) status = load(&l, file, &text, e);
  if (text.data) OPENSSL_cleanse(text.data, text.size);
  buf_free(&text);
  report_free(&l.report);
  free(l.folder);
  if (status) keyset_release(&l.set);
  *set = l.set;
  return status;
}
