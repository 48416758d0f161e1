/* Topics and who follows them: a hash table of nodes, each with an array of links, so that publishing walks memory in
 * order. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "events/hub_parts.h"

enum { NODES_LEAST = 256 };

static const struct {
  const char *word;
  enum topic_kind kind;
  bool has_id, wide;
} kinds[] = {
    {"job:", TOPIC_JOB, true, false}, {"batch:", TOPIC_BATCH, true, false}, {"asset:", TOPIC_ASSET, true, true},
    {"own", TOPIC_OWN, false, true},  {"all", TOPIC_ALL, false, true},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

enum err topic_parse(const char *text, struct topic *topic, struct error *e) {
  for (size_t i = 0; i < KINDS; i++) {
    size_t size = strlen(kinds[i].word);
    if (strncmp(text, kinds[i].word, size) != 0) continue;
    size_t rest = strlen(text + size);
    if (kinds[i].has_id ? !rest || rest > 255 : rest > 0) continue;
    *topic = (struct topic){.kind = kinds[i].kind, .id = kinds[i].has_id ? text + size : NULL};
    return ERR_OK;
  }
  return error_set(e, ERR_USAGE, "'%.80s' is no topic: use job:ID, batch:ID, asset:ID, own or all", text);
}

bool topic_is_wide(enum topic_kind kind) {
  for (size_t i = 0; i < KINDS; i++)
    if (kinds[i].kind == kind) return kinds[i].wide;
  return false;
}

static uint32_t node_hash(enum topic_kind kind, const char *id) { return text_hash(id) * 31 + (uint32_t)kind; }

static void nodes_grow(struct hub *hub) {
  size_t room = hub->node_room ? hub->node_room * 2 : NODES_LEAST;
  struct node **nodes = mem_array(room, sizeof *nodes);
  for (size_t i = 0; i < hub->node_room; i++)
    for (struct node *node = hub->nodes[i], *next; node; node = next) {
      next = node->chain;
      node->chain = nodes[node->hash & (room - 1)];
      nodes[node->hash & (room - 1)] = node;
    }
  free(hub->nodes);
  hub->nodes = nodes;
  hub->node_room = room;
}

struct node *node_find(struct hub *hub, enum topic_kind kind, const char *id) {
  if (!hub->node_room) return NULL;
  uint32_t hash = node_hash(kind, id);
  for (struct node *node = hub->nodes[hash & (hub->node_room - 1)]; node; node = node->chain)
    if (node->hash == hash && node->kind == kind && strcmp(node->id, id) == 0) return node;
  return NULL;
}

static struct node *node_new(struct hub *hub, enum topic_kind kind, const char *id) {
  if (hub->node_count >= hub->node_room) nodes_grow(hub);
  struct node *node = mem_alloc(sizeof *node + strlen(id) + 1);
  node->kind = kind;
  node->hash = node_hash(kind, id);
  memcpy(node->id, id, strlen(id) + 1);
  struct node **chain = &hub->nodes[node->hash & (hub->node_room - 1)];
  node->chain = *chain;
  *chain = node;
  hub->node_count++;
  return node;
}

static void node_free(struct hub *hub, struct node *node) {
  struct node **at = &hub->nodes[node->hash & (hub->node_room - 1)];
  while (*at != node) at = &(*at)->chain;
  *at = node->chain;
  hub->node_count--;
  free(node->links);
  free(node);
}

struct link *link_new(struct follower *follower, const struct topic *topic) {
  struct hub *hub = follower->hub;
  const char *id = topic->id ? topic->id : "";
  struct node *node = node_find(hub, topic->kind, id);
  if (!node) node = node_new(hub, topic->kind, id);
  if (node->count == node->room) {
    node->room = node->room ? node->room * 2 : 1;
    node->links = mem_grow(node->links, node->room, sizeof *node->links);
  }
  struct link *link = mem_alloc(sizeof *link);
  link->follower = follower;
  link->node = node;
  link->place = node->count;
  node->links[node->count++] = link;
  return link;
}

void link_free(struct link **at) {
  struct link *link = *at;
  struct node *node = link->node;
  struct link *last = node->links[--node->count];
  node->links[link->place] = last;
  last->place = link->place;
  if (!node->count) node_free(link->follower->hub, node);
  free(link->owner);
  free(link);
  *at = NULL;
}
