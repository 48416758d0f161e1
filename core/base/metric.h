/* metric.h - what the process counts, for Prometheus. One registry for the process: a metric is made once (asking again
 * by the same name gives the same one), lives for ever, and may be moved from any thread without a lock.
 *
 *   static struct metric *ended;
 *   ended = metric_counter("stagemill_attempts_total", "attempts that ended, by outcome", "outcome");
 *   metric_add(ended, 1, "ok");
 *
 * Labels are bounded: a metric keeps at most METRIC_CHILDREN_MAX combinations of values; what comes later is counted
 * under "other". A value is cut at METRIC_VALUE_MAX bytes. Never make an id a label. Units stand in names (seconds,
 * bytes), counters end in _total. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { METRIC_LABELS_MAX = 4, METRIC_CHILDREN_MAX = 200, METRIC_BOUNDS_MAX = 20, METRIC_VALUE_MAX = 80 };

struct metric;

/* name, help: literals. labels: names separated by commas, NULL: none. [any-thread] */
struct metric *metric_counter(const char *name, const char *help, const char *labels);
struct metric *metric_gauge(const char *name, const char *help, const char *labels);
/* bounds: ascending upper bounds, at most METRIC_BOUNDS_MAX; +Inf is added. NULL: metric_seconds. */
struct metric *metric_histogram(const char *name, const char *help, const char *labels, const double *bounds,
                                size_t bound_count);
/* Bounds for durations in seconds: from a commit's milliseconds to a stage's hours. */
extern const double metric_seconds[16];

/* metric_add(counter or gauge, amount, label values...): a counter is never lowered.
 * metric_set(gauge, value, ...); also a counter that somebody else keeps. metric_observe(histogram, value, ...). */
#define metric_add(metric, amount, ...) METRIC_CALL(metric_add_to, metric, amount, ##__VA_ARGS__)
#define metric_set(metric, value, ...) METRIC_CALL(metric_set_to, metric, value, ##__VA_ARGS__)
#define metric_observe(metric, value, ...) METRIC_CALL(metric_observe_in, metric, value, ##__VA_ARGS__)
#define METRIC_CALL(function, metric, value, ...)                                                                      \
  function(metric, value, (const char *const[]){"", ##__VA_ARGS__} + 1,                                                \
           sizeof((const char *const[]){"", ##__VA_ARGS__}) / sizeof(const char *) - 1)
void metric_add_to(struct metric *m, double amount, const char *const *values, size_t count);
void metric_set_to(struct metric *m, double value, const char *const *values, size_t count);
void metric_observe_in(struct metric *m, double value, const char *const *values, size_t count);

/* The combination's value (of a histogram: how many were observed); 0: never seen. For tests and status pages. */
#define metric_value(metric, ...)                                                                                      \
  metric_value_of(metric, (const char *const[]){"", ##__VA_ARGS__} + 1,                                                \
                  sizeof((const char *const[]){"", ##__VA_ARGS__}) / sizeof(const char *) - 1)
double metric_value_of(struct metric *m, const char *const *values, size_t count);

/* Appends all of them as text of the Prometheus exposition format 0.0.4, in the order they were made. */
void metric_render(struct buf *out);
#define METRIC_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Refreshes what every process of Prometheus tells of itself: process_cpu_seconds_total, process_resident_memory_bytes,
 * process_open_fds, process_max_fds, process_start_time_seconds. Call before rendering. */
void metric_refresh_process(void);
