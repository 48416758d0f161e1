/* settings_holder.c - the settings in force: readers keep the version they began with until they let go of it. */
#include <pthread.h>

#include "base/mem.h"
#include "service/settings.h"

struct version {
  struct settings *settings;
  unsigned held;
  bool replaced;
  struct version *next;
};

struct settings_holder {
  pthread_mutex_t lock;     /* guards all of it; never held while calling out */
  struct version *versions; /* the first is the one in force, the others are still held by somebody */
};

static void version_free(struct version **at) {
  struct version *gone = *at;
  *at = gone->next;
  settings_free(&gone->settings);
  free(gone);
}

static void push(struct settings_holder *holder, struct settings *moved) {
  struct version *version = mem_alloc(sizeof *version);
  *version = (struct version){.settings = moved, .next = holder->versions};
  holder->versions = version;
}

struct settings_holder *settings_holder_new(struct settings *moved) {
  struct settings_holder *holder = mem_alloc(sizeof *holder);
  pthread_mutex_init(&holder->lock, NULL);
  push(holder, moved);
  return holder;
}

const struct settings *settings_hold(struct settings_holder *holder) {
  pthread_mutex_lock(&holder->lock);
  holder->versions->held++;
  const struct settings *settings = holder->versions->settings;
  pthread_mutex_unlock(&holder->lock);
  return settings;
}

void settings_release(struct settings_holder *holder, const struct settings **held) {
  if (!*held) return;
  pthread_mutex_lock(&holder->lock);
  struct version **at = &holder->versions;
  while ((*at)->settings != *held) at = &(*at)->next;
  if (--(*at)->held == 0 && (*at)->replaced) version_free(at);
  pthread_mutex_unlock(&holder->lock);
  *held = NULL;
}

void settings_replace(struct settings_holder *holder, struct settings *moved) {
  pthread_mutex_lock(&holder->lock);
  holder->versions->replaced = true;
  if (!holder->versions->held) version_free(&holder->versions);
  push(holder, moved);
  pthread_mutex_unlock(&holder->lock);
}

void settings_holder_free(struct settings_holder **at) {
  struct settings_holder *holder = *at;
  if (!holder) return;
  *at = NULL;
  while (holder->versions) version_free(&holder->versions);
  pthread_mutex_destroy(&holder->lock);
  free(holder);
}
