/* policy.c - what a reload replaces: whose pages may ask, whose forwarded headers count, what we are called outside. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "http/parts.h"

static bool parse_address(const char *text, uint8_t address[16], bool *v4) {
  static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
  *v4 = inet_pton(AF_INET, text, address + 12) == 1;
  if (*v4) memcpy(address, mapped, sizeof(mapped));
  return *v4 || inet_pton(AF_INET6, text, address) == 1;
}

/* "10.0.0.0/8", "192.0.2.7", "fd00::/8" */
static bool parse_network(const char *text, struct network *network) {
  char address[INET6_ADDRSTRLEN];
  size_t size = strcspn(text, "/");
  bool v4;
  if (size == 0 || size >= sizeof(address)) return false;
  memcpy(address, text, size);
  address[size] = '\0';
  if (!parse_address(address, network->address, &v4)) return false;
  unsigned long most = v4 ? 32 : 128, bits = most;
  if (text[size] == '/') {
    char *end;
    const char *digits = text + size + 1;
    bits = strtoul(digits, &end, 10);
    if (*digits < '0' || *digits > '9' || *end || bits > most) return false;
  }
  network->bits = (unsigned)bits + (v4 ? 96 : 0);
  return true;
}

static bool contains(const struct network *network, const uint8_t address[16]) {
  unsigned whole = network->bits / 8, rest = network->bits % 8;
  if (memcmp(network->address, address, whole) != 0) return false;
  uint8_t mask = (uint8_t)(0xff00 >> rest);
  return rest == 0 || (network->address[whole] & mask) == (address[whole] & mask);
}

static bool trusts_address(const struct policy *policy, const uint8_t address[16]) {
  for (size_t i = 0; i < policy->proxy_count; i++)
    if (contains(&policy->proxies[i], address)) return true;
  return false;
}

bool policy_trusts(const struct policy *policy, const char *peer) {
  uint8_t address[16];
  bool v4;
  return parse_address(peer, address, &v4) && trusts_address(policy, address);
}

bool policy_lists(const struct policy *policy, const char *origin) {
  for (size_t i = 0; origin && i < policy->origin_count; i++)
    if (strcasecmp(policy->origins[i], origin) == 0) return true;
  return false;
}

/* scheme://host[:port], nothing behind it */
static bool is_origin(const char *text, size_t *size) {
  size_t scheme = strncmp(text, "https://", 8) == 0 ? 8 : strncmp(text, "http://", 7) == 0 ? 7 : 0;
  size_t host = scheme ? strcspn(text + scheme, "/ ?#@\"<>\\,;") : 0;
  *size = scheme + host;
  return host > 0;
}

static enum err add_origins(struct policy *policy, const char *const *origins, struct error *e) {
  for (size_t i = 0; origins && origins[i]; i++) {
    size_t size;
    if (strcmp(origins[i], "*") == 0) {
      policy->any_origin = true;
      continue;
    }
    if (!is_origin(origins[i], &size) || origins[i][size])
      return error_set(e, ERR_INVALID,
                       "the origin '%.120s' is none: write scheme, host and port alone, as https://app.example.org",
                       origins[i]);
    policy->origins = mem_grow(policy->origins, policy->origin_count + 1, sizeof(*policy->origins));
    policy->origins[policy->origin_count++] = mem_text(origins[i]);
  }
  return ERR_OK;
}

static enum err add_proxies(struct policy *policy, const char *const *proxies, struct error *e) {
  for (size_t i = 0; proxies && proxies[i]; i++) {
    policy->proxies = mem_grow(policy->proxies, policy->proxy_count + 1, sizeof(*policy->proxies));
    if (!parse_network(proxies[i], &policy->proxies[policy->proxy_count]))
      return error_set(e, ERR_INVALID, "the proxy '%.120s' is neither an address nor a network as 10.0.0.0/8",
                       proxies[i]);
    policy->proxy_count++;
  }
  return ERR_OK;
}

static enum err add_public_url(struct policy *policy, const char *url, struct error *e) {
  size_t size;
  if (!url || !*url) return ERR_OK;
  if (!is_origin(url, &size) || (url[size] && url[size] != '/') || strpbrk(url + size, "?# \"<>\\"))
    return error_set(e, ERR_INVALID, "the public URL '%.120s' is none: write it as https://media.example.org", url);
  policy->public_origin = mem_text_n(url, size);
  policy->public_url = mem_text(url);
  for (size_t end = strlen(url); end > 0 && url[end - 1] == '/';) policy->public_url[--end] = '\0';
  return ERR_OK;
}

enum err policy_create(struct policy **policy, const struct http_options *options, struct error *e) {
  *policy = mem_alloc(sizeof(**policy));
  atomic_init(&(*policy)->holders, 1);
  enum err err = add_origins(*policy, options->origins, e);
  if (err == ERR_OK) err = add_proxies(*policy, options->proxies, e);
  if (err == ERR_OK) err = add_public_url(*policy, options->public_url, e);
  if (err != ERR_OK) policy_release(policy);
  return err;
}

void policy_release(struct policy **policy) {
  struct policy *p = *policy;
  *policy = NULL;
  if (!p || atomic_fetch_sub(&p->holders, 1) != 1) return;
  for (size_t i = 0; i < p->origin_count; i++) free(p->origins[i]);
  free(p->origins);
  free(p->proxies);
  free(p->public_url);
  free(p->public_origin);
  free(p);
}

struct policy *policy_hold(struct http_server *server) {
  pthread_mutex_lock(&server->lock);
  struct policy *policy = server->policy;
  atomic_fetch_add(&policy->holders, 1);
  pthread_mutex_unlock(&server->lock);
  return policy;
}

/* ---- what trusted proxies say
 * ------------------------------------------------------------------------------------------------ */

/* One word of a comma-separated list, from its end. false: none is left. */
static bool last_word(const char *list, size_t *end, char *word, size_t room) {
  while (*end > 0 && strchr(" \t,", list[*end - 1])) --*end;
  size_t start = *end;
  while (start > 0 && list[start - 1] != ',') start--;
  while (start < *end && strchr(" \t", list[start])) start++;
  size_t size = *end - start;
  *end = start;
  if (size == 0) return false;
  if (size >= room) size = 0;
  memcpy(word, list + start, size);
  word[size] = '\0';
  return true;
}

/* "192.0.2.1:4711" and "[2001:db8::1]:80" without their ports. */
static void drop_port(char *word) {
  if (*word == '[') {
    memmove(word, word + 1, strlen(word));
    word[strcspn(word, "]")] = '\0';
  } else if (strchr(word, ':') && strchr(word, ':') == strrchr(word, ':')) {
    *strchr(word, ':') = '\0';
  }
}

void policy_client(const struct policy *policy, const struct mg_request_info *info, char client[PEER_MAX]) {
  snprintf(client, PEER_MAX, "%.*s", PEER_MAX - 1, info->remote_addr);
  if (!policy_trusts(policy, client)) return;
  /* From the right: each trusted hop vouches for the address before it and for no other. */
  for (int i = info->num_headers - 1; i >= 0; i--) {
    if (strcasecmp(info->http_headers[i].name, "X-Forwarded-For") != 0) continue;
    char word[PEER_MAX];
    uint8_t address[16];
    bool v4;
    for (size_t end = strlen(info->http_headers[i].value);
         last_word(info->http_headers[i].value, &end, word, sizeof(word));) {
      drop_port(word);
      if (!parse_address(word, address, &v4)) return;
      strcpy(client, word);
      if (!trusts_address(policy, address)) return;
    }
  }
}

static char *forwarded(const struct policy *policy, const struct mg_request_info *info, const char *name) {
  const char *value = policy_trusts(policy, info->remote_addr) ? request_header(info, name) : NULL;
  if (!value) return NULL;
  char word[256];
  size_t end = strlen(value);
  return last_word(value, &end, word, sizeof(word)) && *word ? mem_text(word) : NULL;
}

char *policy_seen_origin(const struct policy *policy, const struct mg_request_info *info) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:[]";
  if (policy->public_url) return mem_text(policy->public_url);
  char *mem_auto proto = forwarded(policy, info, "X-Forwarded-Proto"),
                 *mem_auto host = forwarded(policy, info, "X-Forwarded-Host");
  bool https = proto && strcasecmp(proto, "https") == 0;
  const char *name = host && host[strspn(host, allowed)] == '\0' ? host : request_header(info, "Host");
  if (!name || !*name) return mem_format("http://127.0.0.1:%d", info->server_port);
  return mem_format("%s://%s", https ? "https" : "http", name);
}
