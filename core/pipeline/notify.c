/* notify.c - `notify:` of a pipeline: the tables check its keys, this what they hold. Delivery is the daemon's matter.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "pipeline/build.h"

enum { HOOKS_MAX = 8, MAILS_MAX = 8, ADDRESSES_MAX = 8, URL_BYTES_MAX = 1000, ADDRESS_BYTES_MAX = 254 };

static const char *host_of(const char *url) {
  if (strncasecmp(url, "http://", 7) == 0) return url + 7;
  return strncasecmp(url, "https://", 8) == 0 ? url + 8 : NULL;
}

static void check_url(struct build *b, const struct node *node) {
  if (!node || node->kind != NODE_SCALAR || node_is_empty(node)) return; /* the tables said so */
  const char *host = host_of(node->text);
  bool plain = node->size <= URL_BYTES_MAX;
  for (const char *c = node->text; *c; c++) plain &= (unsigned char)*c > ' ' && *c != 0x7f;
  if (node_has_expression(node)) return; /* likewise */
  if (!host || !*host || strchr("/?#:", *host) || !plain)
    node_problem(b->report, PROBLEM_ERROR, node, "https://app.example.org/hooks",
                 "`%.100s` is no http or https address", node->text);
}

/* What goes into a mail's header and to its server: one address without anything that could end it. */
static bool is_address(const char *text) {
  const char *at = strchr(text, '@');
  bool good = at && at > text && at[1] && !strchr(at + 1, '@') && strlen(text) <= ADDRESS_BYTES_MAX;
  for (const char *c = text; *c; c++)
    good &= (unsigned char)*c > ' ' && (unsigned char)*c < 0x7f && !strchr("<>()[],;:\\\"", *c);
  return good;
}

static void check_address(struct build *b, const struct node *node) {
  if (node->kind != NODE_SCALAR || node_is_empty(node) || is_address(node->text)) return;
  node_problem(b->report, PROBLEM_ERROR, node, "name@example.org, without a person's name",
               "`%.100s` is no mail address", node->text);
}

static void check_addresses(struct build *b, const struct node *node) {
  if (!node || node->kind == NODE_SCALAR) {
    if (node) check_address(b, node);
    return;
  }
  for (size_t i = 0; i < node->count && node->kind == NODE_LIST; i++) check_address(b, node->items[i]);
  if (node->count > ADDRESSES_MAX)
    node_problem(b->report, PROBLEM_ERROR, node, "use the address of a list", "more than %d addresses", ADDRESSES_MAX);
}

/* `secrets.NAME` or ${{ secrets.NAME }}: the name, owned; NULL when it is neither. */
static char *secret_name(const char *text) {
  char name[64] = "", rest[2] = "";
  int found = sscanf(text, " ${{ secrets.%63[A-Za-z0-9_-] }} %1s", name, rest);
  if (found < 1) found = sscanf(text, " secrets.%63[A-Za-z0-9_-]%1s", name, rest);
  return found == 1 ? mem_text(name) : NULL;
}

static void check_secret(struct build *b, const struct node *node) {
  if (!node || node->kind != NODE_SCALAR || node_is_empty(node)) return;
  mem_auto char *name = secret_name(node->text);
  if (!name)
    node_problem(b->report, PROBLEM_ERROR, node, "write `secrets.NAME`: a secret is named, never written",
                 "`secret` of a webhook is not the name of a secret");
}

/* A record or a list of them: the i-th, NULL behind the last. */
static const struct node *record_at(const struct node *node, size_t i) {
  if (node && node->kind == NODE_MAP) return i == 0 ? node : NULL;
  return node && node->kind == NODE_LIST && i < node->count ? node->items[i] : NULL;
}

static void check_count(struct build *b, const struct node *node, size_t most) {
  if (record_at(node, most))
    node_problem(b->report, PROBLEM_ERROR, node, "let one of them tell the others", "more than %zu", most);
}

static void check_targets(struct build *b, const struct node *notify) {
  const struct node *hooks = node_get(notify, "webhooks"), *mails = node_get(notify, "mail"), *item;
  for (size_t i = 0; (item = record_at(hooks, i)); i++) {
    check_url(b, node_get(item, "url"));
    check_secret(b, node_get(item, "secret"));
  }
  for (size_t i = 0; (item = record_at(mails, i)); i++) check_addresses(b, node_get(item, "to"));
  check_count(b, hooks, HOOKS_MAX);
  check_count(b, mails, MAILS_MAX);
}

/* One item is a list of one. */
static struct value *listed(const struct value *v) {
  if (v->type == VALUE_LIST) return value_copy(v);
  struct value *list = value_list();
  value_list_add(list, value_copy(v));
  return list;
}

static struct value *target_value(const struct value *record) {
  static const char *const lists[] = {"on", "to"};
  struct value *target = value_copy(record);
  for (size_t i = 0; i < 2; i++)
    if (value_get(record, lists[i])) value_map_set(target, lists[i], listed(value_get(record, lists[i])));
  const char *secret = value_get_text(record, "secret", NULL);
  mem_auto char *name = secret ? secret_name(secret) : NULL;
  if (name) value_set_text(target, "secret", name);
  return target;
}

void notify_build(struct build *b) {
  static const char *const kinds[] = {"webhooks", "mail"};
  const struct node *node = node_get(b->root, "notify");
  if (!node || node->kind != NODE_MAP) return;
  check_targets(b, node);
  value_auto struct value *written = NULL;
  struct report *seen = report_new(); /* the keys were reported with those of the pipeline */
  struct schema schema = {.what = "`notify`", .rules = keys_notify};
  schema_check(&schema, node, node, seen, &written);
  report_free(&seen);
  b->p->notify = value_map();
  for (size_t k = 0; k < 2; k++) {
    const struct value *records = value_get(written, kinds[k]);
    if (!records) continue;
    value_auto struct value *all = listed(records);
    struct value *targets = value_list();
    for (size_t i = 0; i < all->count; i++)
      if (all->items[i]->type == VALUE_MAP) value_list_add(targets, target_value(all->items[i]));
    value_map_set(b->p->notify, kinds[k], targets);
  }
}
