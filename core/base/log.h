/* log.h - structured log lines, text or JSON, to one descriptor. Thread-safe. Context (job, stage, attempt, plugin) is
 * thread-local and printed with every line. Registered secrets are replaced by "***" wherever they occur; so is, in
 * lines, what stands behind the names that credentials usually have (token=, ticket=, Authorization: ...).
 *
 *   2026-01-31T12:00:00.000Z info    job=01k... stage=stream attempt=2 plugin=org.example.x message
 *   {"at":"2026-01-31T12:00:00.000Z","level":"info","job":...,"stage":...,"attempt":...,"plugin":...,"message":...} */
#pragma once
#include <stdbool.h>

enum log_level { LOG_LEVEL_DEBUG = 1, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

void log_open(int fd, enum log_level lowest, bool json);
/* Another level or form from now on, on the same descriptor. [any-thread] */
void log_switch(enum log_level lowest, bool json);
enum log_level log_lowest(void);
/* "debug", "info", "warning", "error". */
bool log_level_from_word(const char *word, enum log_level *level);
const char *log_level_word(enum log_level level);
void log_context(const char *job, const char *stage, const char *attempt, const char *plugin); /* NULL: none; copied */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_secret_add(const char *secret); /* refused when shorter than 4 characters; copied */
/* Replaces every registered secret in text (in place, never longer). */
void log_scrub(char *text);
/* What looks like a credential, registered or not (in place, never longer). Every line passes through it. */
void log_scrub_credentials(char *text);

#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
