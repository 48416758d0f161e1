#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

enum { CONTEXT_MAX = 72, SECRET_MIN = 4 };

/* Lock: guards all of it, also the write itself, so that lines never mix. */
static struct {
  pthread_mutex_t lock;
  int fd;
  enum log_level lowest;
  bool json;
  char **secrets; /* longest first: one that contains another goes as a whole */
  size_t secret_count;
} sink = {PTHREAD_MUTEX_INITIALIZER, STDERR_FILENO, LOG_LEVEL_INFO, false, NULL, 0};

static _Thread_local struct {
  char job[CONTEXT_MAX], stage[CONTEXT_MAX], attempt[CONTEXT_MAX], plugin[CONTEXT_MAX];
} here;

void log_open(int fd, enum log_level lowest, bool json) {
  pthread_mutex_lock(&sink.lock);
  sink.fd = fd;
  sink.lowest = lowest;
  sink.json = json;
  pthread_mutex_unlock(&sink.lock);
}

void log_switch(enum log_level lowest, bool json) {
  pthread_mutex_lock(&sink.lock);
  sink.lowest = lowest;
  sink.json = json;
  pthread_mutex_unlock(&sink.lock);
}

enum log_level log_lowest(void) {
  pthread_mutex_lock(&sink.lock);
  enum log_level lowest = sink.lowest;
  pthread_mutex_unlock(&sink.lock);
  return lowest;
}

static void keep(char *to, const char *from) { snprintf(to, CONTEXT_MAX, "%s", from ? from : ""); }

void log_context(const char *job, const char *stage, const char *attempt, const char *plugin) {
  keep(here.job, job);
  keep(here.stage, stage);
  keep(here.attempt, attempt);
  keep(here.plugin, plugin);
}

void log_secret_add(const char *secret) {
  size_t size = secret ? strlen(secret) : 0;
  if (size < SECRET_MIN) return; /* would blot out ordinary words */
  pthread_mutex_lock(&sink.lock);
  size_t at = 0;
  bool known = false;
  for (size_t i = 0; i < sink.secret_count; i++) {
    known = known || strcmp(sink.secrets[i], secret) == 0;
    if (strlen(sink.secrets[i]) >= size) at = i + 1;
  }
  if (!known) {
    sink.secrets = mem_grow(sink.secrets, sink.secret_count + 1, sizeof(*sink.secrets));
    memmove(sink.secrets + at + 1, sink.secrets + at, (sink.secret_count - at) * sizeof(*sink.secrets));
    sink.secrets[at] = mem_text_n(secret, size);
    sink.secret_count++;
  }
  pthread_mutex_unlock(&sink.lock);
}

static void scrub_one(char *text, const char *secret) {
  size_t size = strlen(secret);
  for (char *at = strstr(text, secret); at; at = strstr(at, secret)) {
    memcpy(at, "***", 3);
    memmove(at + 3, at + size, strlen(at + size) + 1);
    at += 3;
  }
}

static void scrub_locked(char *text) {
  for (size_t i = 0; i < sink.secret_count; i++) scrub_one(text, sink.secrets[i]);
}

void log_scrub(char *text) {
  pthread_mutex_lock(&sink.lock);
  scrub_locked(text);
  pthread_mutex_unlock(&sink.lock);
}

static const char *const level_words[] = {"?", "debug", "info", "warning", "error"};

const char *log_level_word(enum log_level level) {
  return level_words[level >= LOG_LEVEL_DEBUG && level <= LOG_LEVEL_ERROR ? level : 0];
}

bool log_level_from_word(const char *word, enum log_level *level) {
  for (int i = LOG_LEVEL_DEBUG; i <= LOG_LEVEL_ERROR; i++) {
    if (strcmp(word, level_words[i]) != 0) continue;
    *level = (enum log_level)i;
    return true;
  }
  return false;
}

static void add_member(struct buf *out, const char *key, const char *text) {
  if (!text[0]) return;
  buf_format(out, ",\"%s\":", key);
  buf_json_text(out, text, strlen(text));
}

static void compose_json(struct buf *out, enum log_level level, const char *at, const char *text) {
  buf_format(out, "{\"at\":\"%s\",\"level\":\"%s\"", at, log_level_word(level));
  add_member(out, "job", here.job);
  add_member(out, "stage", here.stage);
  add_member(out, "attempt", here.attempt);
  add_member(out, "plugin", here.plugin);
  buf_text(out, ",\"message\":");
  buf_json_text(out, text, strlen(text));
  buf_text(out, "}\n");
}

static void add_word(struct buf *out, const char *key, const char *text) {
  if (text[0]) buf_format(out, " %s=%s", key, text);
}

static void compose_text(struct buf *out, enum log_level level, const char *at, const char *text) {
  buf_format(out, "%s %-7s", at, log_level_word(level));
  add_word(out, "job", here.job);
  add_word(out, "stage", here.stage);
  add_word(out, "attempt", here.attempt);
  add_word(out, "plugin", here.plugin);
  buf_char(out, ' ');
  /* Foreign text must not forge lines or steer a terminal. */
  for (const char *s = text; *s; s++) buf_char(out, (unsigned char)*s < 0x20 || *s == 0x7f ? ' ' : *s);
  buf_char(out, '\n');
}

static void write_all(int fd, const char *data, size_t size) {
  while (size) {
    ssize_t n = write(fd, data, size);
    if (n <= 0) return; /* a log that cannot be written is no reason to stop work */
    data += n;
    size -= (size_t)n;
  }
}

void log_line(enum log_level level, const char *format, ...) {
  struct buf buf_auto line = {0};
  char at[32];
  va_list args;
  va_start(args, format);
  char *said = NULL;
  int size = vasprintf(&said, format, args);
  va_end(args);
  if (size < 0) return;
  clock_format(clock_wall(&clock_system), at);
  pthread_mutex_lock(&sink.lock);
  if (level >= sink.lowest) {
    scrub_locked(said);
    log_scrub_credentials(said);
    if (sink.json)
      compose_json(&line, level, at, said);
    else
      compose_text(&line, level, at, said);
    write_all(sink.fd, line.data, line.size);
  }
  pthread_mutex_unlock(&sink.lock);
  free(said);
}
