/* secret.c - resolves ${{ secrets.NAME }} at each attempt; what it finds is never stored and scrubbed from every log,
 * error and result. Looked up in this order: $CREDENTIALS_DIRECTORY/NAME (systemd), $STAGEMILL_SECRETS/NAME (a folder of
 * files), the environment variable STAGEMILL_SECRET_NAME; before all of them whoever runs the engine is asked. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/job.h"

enum { SECRET_MAX = 64 * 1024 };

static char *secret_from_folder(const char *folder, const char *name) {
  if (!folder || !*folder) return NULL;
  mem_auto char *path = mem_format("%s/%s", folder, name);
  struct buf text = {0};
  if (fs_read_file(path, SECRET_MAX, &text, NULL)) return NULL;
  while (text.size && (text.data[text.size - 1] == '\n' || text.data[text.size - 1] == '\r'))
    text.data[--text.size] = '\0';
  return buf_take(&text);
}

static bool secret_name_ok(const char *name) {
  size_t plain = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
  return plain > 0 && name[plain] == '\0';
}

struct value *secret_lookup(void *context, const char *name) {
  const struct job *job = context;
  const struct engine *engine = job ? job->engine : NULL; /* without a job: the daemon's own */
  if (!secret_name_ok(name)) return NULL;
  char *text = engine && engine->secret ? engine->secret(engine->secret_context, job->record.owner, job->record.batch, name) : NULL;
  if (!text) text = secret_from_folder(getenv("CREDENTIALS_DIRECTORY"), name);
  if (!text) text = secret_from_folder(getenv("STAGEMILL_SECRETS"), name);
  if (!text) {
    mem_auto char *variable = mem_format("STAGEMILL_SECRET_%s", name);
    text = mem_text(getenv(variable));
  }
  if (!text) return NULL;
  log_secret_add(text);
  struct value *v = value_text(text);
  v->secret = true;
  explicit_bzero(text, strlen(text));
  free(text);
  return v;
}

/* On the tree, not on its JSON: a secret with a quote in it is written differently there, and one like `1234` would
 * tear numbers apart. */
void secret_scrub(struct value *v) {
  if (!v) return;
  for (size_t i = 0; i < v->count; i++) secret_scrub(v->items[i]);
  if (v->type != VALUE_TEXT || !v->text) return;
  log_scrub(v->text);
  v->text_size = strlen(v->text);
}
