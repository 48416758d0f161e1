/* log.h - structured log lines, text or JSON, to one descriptor. Thread-safe. Context (job, stage, attempt, plugin) is
 * thread-local and printed with every line. Registered secrets are replaced by "***" wherever they occur. */
#pragma once
#include <stdbool.h>

enum log_level { LOG_LEVEL_DEBUG = 1, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

void log_open(int fd, enum log_level lowest, bool json);
void log_context(const char *job, const char *stage, const char *attempt, const char *plugin); /* NULL: none; copied */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_secret_add(const char *secret); /* refused when shorter than 4 characters; copied */
/* Replaces every registered secret in text (in place, never longer). */
void log_scrub(char *text);

#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
