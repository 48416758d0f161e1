/* stagemill/stage.h - everything a task stage needs. Include this one header (or media.h for stages on frames).
 *
 * SPDX-License-Identifier: MIT
 *
 *   the host                                   your stage (one process per attempt)
 *   --------                                   -------------------------------------
 *   reads .note.stagemill, dlopen        -->   constructors, if any
 *   checks `with:` against your tables
 *   forks an attempt, opens inputs       -->   run(task)
 *                                              |  sm_param_..., sm_input_open, sm_input_path
 *                        progress, log   <--   |  sm_progress, sm_log, sm_checkpoint
 *                    cancel, deadline    -->   |  sm_cancelled, sm_deadline_us
 *                outputs and results     <--   |  sm_output_path + sm_output, sm_result_...
 *                             verdict    <--   return SM_OK, or sm_fail(...), or SM_CANCELLED
 *   checks, hashes, publishes the outputs
 *   decides about retries, delays, the job
 *
 * Threads: unless a function says [any-thread], call services only on the thread that called run(). Progress, log and
 * cancelled are [any-thread].
 * Strings: what the host hands out lives until run() (or the media call) returns; what you hand in is copied.
 * Nothing is freed across the boundary: descriptors you opened with sm_input_open are yours to close().
 * Attempts: the process ends after run(); memory you leak costs nothing beyond it. A crash, a hang or a memory bomb
 * costs this attempt, never the host.
 */
#ifndef STAGEMILL_STAGE_H
#define STAGEMILL_STAGE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include <stagemill/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Kinds of a parameter value, as the host hands it over. */
enum {
  SM_IS_ABSENT = 0,
  SM_IS_TEXT = 1,
  SM_IS_INT = 2,
  SM_IS_NUMBER = 3,
  SM_IS_BOOL = 4,
  SM_IS_DURATION = 5, /* integer: microseconds */
  SM_IS_SIZE = 6,     /* integer: bytes */
  SM_IS_BITRATE = 7,  /* integer: bits per second */
  SM_IS_PERCENT = 8,  /* number: 0-100 unless the row says otherwise */
  SM_IS_LIST = 9,     /* count: items at PATH.0, PATH.1, ... */
  SM_IS_RECORD = 10   /* count: number of keys; fields at PATH.key */
};

typedef struct sm_value {
  uint32_t kind;  /* SM_IS_... */
  uint32_t count; /* items of a list, keys of a record */
  int64_t integer;
  double number;
  const char *text; /* valid until the call returns; text, keyword, file (absolute path), target, secret */
} sm_value;

enum { SM_LOG_DEBUG = 1, SM_LOG_INFO = 2, SM_LOG_WARNING = 3, SM_LOG_ERROR = 4 };

/* One input artifact. Fields the host does not know are NULL or -1. */
typedef struct sm_input {
  uint32_t size;          /* sizeof(sm_input) of the host */
  uint32_t is_source;     /* 1: the job's own input (or what stands in for it) */
  const char *name;       /* relative path below its stage's folder, "480p/seg_000.ts"; base name for the job's input */
  const char *media_type; /* "video/mp2t" */
  const char *stage;      /* id of the stage that made it; NULL: the job's input */
  const char *port;       /* output port of that stage */
  const char *sha256;     /* 64 hex digits, known for published artifacts */
  int64_t size_bytes;
} sm_input;

/* Host services. Never call through it directly: the inline functions below check that the host has the slot. */
typedef struct sm_host {
  uint32_t size; /* bytes of this table in the host that runs you */
  uint16_t abi_major, abi_minor;
  sm_status (*param)(sm_task *, const char *path, sm_value *value, uint32_t value_size);
  sm_status (*input)(sm_task *, const char *port, uint32_t index, sm_input *input, uint32_t input_size);
  int (*input_count)(sm_task *, const char *port);
  int (*input_open)(sm_task *, const char *port, uint32_t index);
  const char *(*input_path)(sm_task *, const char *port, uint32_t index);
  const char *(*output_path)(sm_task *, const char *port, const char *name);
  sm_status (*output)(sm_task *, const char *port, const char *name, const char *media_type, const char *metadata_json);
  sm_status (*result)(sm_task *, const char *key, const sm_value *value, uint32_t value_size);
  sm_status (*result_item)(sm_task *, const char *key, const char *text);
  sm_status (*progress)(sm_task *, double fraction, uint64_t item, uint64_t items, const char *message);
  void (*log)(sm_task *, int level, const char *text);
  int (*cancelled)(sm_task *);
  sm_status (*fail)(sm_task *, sm_status verdict, const char *operator_sentence, const char *debug_sentence);
  sm_status (*checkpoint)(sm_task *, const char *key, const char *value);
  const char *(*checkpoint_get)(sm_task *, const char *key);
  const char *(*scratch_path)(sm_task *);
  const char *(*info)(sm_task *, const char *key);
  int64_t (*number)(sm_task *, const char *key);
  sm_status (*plan_note)(sm_task *, const char *what, const char *text, double amount);
  const void *(*extension)(sm_task *, const char *name);
} sm_host;

struct sm_task {
  const sm_host *host;
  const void *media_host; /* sm_media_host of media.h in a media stage, else NULL */
  /* the host's own state follows */
};

#define SM_HOST_HAS_(task, slot)                                                                                       \
  ((task)->host->size >= offsetof(sm_host, slot) + sizeof((task)->host->slot) && (task)->host->slot)

#define SM_INLINE_ static inline __attribute__((unused))
#define SM_PRINTF_(text_, first_) __attribute__((format(printf, text_, first_)))

/* ---- parameters ---------------------------------------------------------------------------------------------- */

/* The value of a parameter. `path` is its name, or name.index and name.index.field inside lists and records
 * ("ladder.0.width"). A REPEATED parameter is always a list here, also when the operator wrote one value.
 * Absent values (no default) have kind SM_IS_ABSENT. */
SM_INLINE_ sm_value sm_param_value(sm_task *task, const char *path) {
  sm_value value = {SM_IS_ABSENT, 0, 0, 0, NULL};
  if (SM_HOST_HAS_(task, param)) task->host->param(task, path, &value, (uint32_t)sizeof value);
  return value;
}
SM_INLINE_ bool sm_param_given(sm_task *task, const char *path) {
  return sm_param_value(task, path).kind != SM_IS_ABSENT;
}
/* Text, keyword, path of a file, target or secret; NULL when absent. */
SM_INLINE_ const char *sm_param_text(sm_task *task, const char *path) { return sm_param_value(task, path).text; }
/* Integers; microseconds for a duration, bytes for a size, bit/s for a bitrate; 0 when absent. */
SM_INLINE_ int64_t sm_param_int(sm_task *task, const char *path) { return sm_param_value(task, path).integer; }
/* Numbers and percentages (integers and units are converted too); 0 when absent. */
SM_INLINE_ double sm_param_number(sm_task *task, const char *path) { return sm_param_value(task, path).number; }
SM_INLINE_ bool sm_param_bool(sm_task *task, const char *path) { return sm_param_value(task, path).integer != 0; }
/* Number of items of a list, 0 when absent. */
SM_INLINE_ uint32_t sm_param_count(sm_task *task, const char *path) { return sm_param_value(task, path).count; }

/* ---- inputs -------------------------------------------------------------------------------------------------- */

/* Number of artifacts at an input port; 0 when nothing is connected. */
SM_INLINE_ int sm_input_count(sm_task *task, const char *port) {
  return SM_HOST_HAS_(task, input_count) ? task->host->input_count(task, port) : 0;
}
SM_INLINE_ sm_status sm_input_info(sm_task *task, const char *port, uint32_t index, sm_input *input) {
  if (!SM_HOST_HAS_(task, input)) return SM_UNSUPPORTED;
  return task->host->input(task, port, index, input, (uint32_t)sizeof *input);
}
/* A fresh read-only descriptor at offset 0 (yours to close), or -1 with errno. Always works, also in a sandbox. */
SM_INLINE_ int sm_input_open(sm_task *task, const char *port, uint32_t index) {
  return SM_HOST_HAS_(task, input_open) ? task->host->input_open(task, port, index) : -1;
}
/* A path that this attempt may open, for libraries that insist on one; NULL when there is none (errno says why). */
SM_INLINE_ const char *sm_input_path(sm_task *task, const char *port, uint32_t index) {
  return SM_HOST_HAS_(task, input_path) ? task->host->input_path(task, port, index) : NULL;
}

/* ---- outputs and results ------------------------------------------------------------------------------------- */

/* Absolute path below the attempt's output folder where the artifact `name` ("480p/seg_000.ts", relative, no "..") is
 * to be written; parent folders are made. NULL with errno (EINVAL: bad name). */
SM_INLINE_ const char *sm_output_path(sm_task *task, const char *port, const char *name) {
  return SM_HOST_HAS_(task, output_path) ? task->host->output_path(task, port, name) : NULL;
}
/* Declares a finished artifact that lies at sm_output_path(port, name). media_type NULL: the port's own type (must
 * then be a single one). metadata_json: a JSON object of yours that followers and job.json show, or NULL. */
SM_INLINE_ sm_status sm_output(sm_task *task, const char *port, const char *name, const char *media_type,
                               const char *metadata_json) {
  if (!SM_HOST_HAS_(task, output)) return SM_UNSUPPORTED;
  return task->host->output(task, port, name, media_type, metadata_json);
}
/* Results named in the stage's table; a key or type that is not in it is an error of the stage (SM_FAIL). */
SM_INLINE_ sm_status sm_result_value(sm_task *task, const char *key, uint32_t kind, int64_t integer, double number,
                                     const char *text) {
  sm_value value = {kind, 0, integer, number, text};
  if (!SM_HOST_HAS_(task, result)) return SM_UNSUPPORTED;
  return task->host->result(task, key, &value, (uint32_t)sizeof value);
}
SM_INLINE_ sm_status sm_result_text(sm_task *task, const char *key, const char *text) {
  return sm_result_value(task, key, text ? SM_IS_TEXT : SM_IS_ABSENT, 0, 0, text);
}
SM_INLINE_ sm_status sm_result_int(sm_task *task, const char *key, int64_t n) {
  return sm_result_value(task, key, SM_IS_INT, n, (double)n, NULL);
}
SM_INLINE_ sm_status sm_result_number(sm_task *task, const char *key, double x) {
  return sm_result_value(task, key, SM_IS_NUMBER, (int64_t)x, x, NULL);
}
SM_INLINE_ sm_status sm_result_bool(sm_task *task, const char *key, bool b) {
  return sm_result_value(task, key, SM_IS_BOOL, b, b, NULL);
}
SM_INLINE_ sm_status sm_result_duration(sm_task *task, const char *key, int64_t microseconds) {
  return sm_result_value(task, key, SM_IS_DURATION, microseconds, (double)microseconds / 1e6, NULL);
}
/* Says that a nullable result has no value here. */
SM_INLINE_ sm_status sm_result_null(sm_task *task, const char *key) {
  return sm_result_value(task, key, SM_IS_ABSENT, 0, 0, NULL);
}
/* A text result that names one of the stage's artifacts the way people find it: below the job's output folder,
 * "stream/master.m3u8" for the artifact "master.m3u8" of the stage `stream`. */
SM_INLINE_ sm_status sm_result_file(sm_task *task, const char *key, const char *name) {
  char path[1024];
  const char *stage = SM_HOST_HAS_(task, info) ? task->host->info(task, "stage") : NULL;
  snprintf(path, sizeof path, "%s%s%s", stage ? stage : "", stage ? "/" : "", name ? name : "");
  return sm_result_text(task, key, name ? path : NULL);
}
/* Appends one text to a list result. */
SM_INLINE_ sm_status sm_result_item(sm_task *task, const char *key, const char *text) {
  if (!SM_HOST_HAS_(task, result_item)) return SM_UNSUPPORTED;
  return task->host->result_item(task, key, text);
}

/* ---- progress, log, cancellation ----------------------------------------------------------------------------- */

/* [any-thread] fraction 0-1 (clamped; NaN: unknown), message NULL keeps the last one. Also counts as a sign of life:
 * a stage that shows none for its stall time is stopped. Cheap: call it as often as you like. */
SM_INLINE_ sm_status sm_progress(sm_task *task, double fraction, const char *message) {
  if (!SM_HOST_HAS_(task, progress)) return SM_UNSUPPORTED;
  return task->host->progress(task, fraction, 0, 0, message);
}
/* [any-thread] "item i of n" beside the fraction; items from 1. */
SM_INLINE_ sm_status sm_progress_items(sm_task *task, double fraction, uint64_t item, uint64_t items,
                                       const char *message) {
  if (!SM_HOST_HAS_(task, progress)) return SM_UNSUPPORTED;
  return task->host->progress(task, fraction, item, items, message);
}
/* [any-thread] One line to the job's log. */
SM_PRINTF_(3, 4) SM_INLINE_ void sm_log(sm_task *task, int level, const char *format, ...) {
  char text[1024];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  if (SM_HOST_HAS_(task, log)) task->host->log(task, level, text);
}
/* [any-thread] True once the attempt should stop: clean up and return SM_CANCELLED within the grace time (10 s). */
SM_INLINE_ bool sm_cancelled(sm_task *task) { return SM_HOST_HAS_(task, cancelled) && task->host->cancelled(task); }

/* Records why the stage fails and returns `verdict`, so that a stage can `return sm_fail(...)`. The operator sentence
 * says what, which thing and what to do; `debug` is for the log (NULL: none). */
SM_PRINTF_(4, 5) SM_INLINE_ sm_status sm_fail(sm_task *task, sm_status verdict, const char *debug,
                                              const char *format, ...) {
  char text[1024];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  if (!SM_HOST_HAS_(task, fail)) return verdict;
  return (task->host->fail)(task, verdict, text, debug); /* in brackets: test libraries have a macro of that name */
}

/* ---- resuming and context ------------------------------------------------------------------------------------ */

/* Stores a small value (key 63, value 4000 bytes at most) durably; the next attempt of this stage reads it back. */
SM_INLINE_ sm_status sm_checkpoint(sm_task *task, const char *key, const char *value) {
  return SM_HOST_HAS_(task, checkpoint) ? task->host->checkpoint(task, key, value) : SM_UNSUPPORTED;
}
/* What an earlier attempt stored, or NULL. */
SM_INLINE_ const char *sm_checkpoint_get(sm_task *task, const char *key) {
  return SM_HOST_HAS_(task, checkpoint_get) ? task->host->checkpoint_get(task, key) : NULL;
}
/* A folder of this attempt's own, removed afterwards; bounded by the scratch quota. */
SM_INLINE_ const char *sm_scratch_path(sm_task *task) {
  return SM_HOST_HAS_(task, scratch_path) ? task->host->scratch_path(task) : NULL;
}
/* Context as text: "job", "pipeline", "stage" (the id in the pipeline), "input" (name of the job's input); "keep" (a
 * folder of this task stage that outlives its attempts and goes with the job, for parts worth keeping); NULL for what
 * the host does not have: every key may be missing. */
SM_INLINE_ const char *sm_info(sm_task *task, const char *key) {
  return SM_HOST_HAS_(task, info) ? task->host->info(task, key) : NULL;
}
/* Attempt number of this stage, from 1. */
SM_INLINE_ int sm_attempt(sm_task *task) {
  return SM_HOST_HAS_(task, number) ? (int)task->host->number(task, "attempt") : 1;
}
/* CLOCK_BOOTTIME microseconds at which the attempt times out; 0: none. */
SM_INLINE_ int64_t sm_deadline_us(sm_task *task) {
  return SM_HOST_HAS_(task, number) ? task->host->number(task, "deadline_us") : 0;
}
/* Only inside plan(): announces one line of the plan. what: "output" (text: its path), "rung" (text: "1080p 1920x1080
 * crf 23"), "memory" (amount: bytes), "cost" (amount: encoded pixels per source pixel). */
SM_INLINE_ sm_status sm_plan_note(sm_task *task, const char *what, const char *text, double amount) {
  return SM_HOST_HAS_(task, plan_note) ? task->host->plan_note(task, what, text, amount) : SM_UNSUPPORTED;
}
/* A string-named extension ("stagemill.hardware/1") or NULL: how later capabilities arrive. */
SM_INLINE_ const void *sm_extension(sm_task *task, const char *name) {
  return SM_HOST_HAS_(task, extension) ? task->host->extension(task, name) : NULL;
}

#ifdef __cplusplus
}
#endif
#endif
