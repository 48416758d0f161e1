/* stagemill/abi.h - the binary contract between a stage plugin and its host.
 *
 * SPDX-License-Identifier: MIT
 *
 * The law of compatibility:
 *   - a plugin built for the same major version always loads when its minor is older than or equal to the host's;
 *   - a plugin built for a newer minor loads when the lowest host minor it states (SM_USE_MINOR) is met;
 *   - anything else is refused, before any of its code runs, with the file, both versions and the cure.
 * Structs grow only at their end. Tables are arrays by value: the plugin records the element size it was compiled
 * with and the host walks by that stride, reading fields the plugin does not have as zero.
 *
 * Authors include <stagemill/stage.h> or <stagemill/media.h>; this header holds what both need.
 */
#ifndef STAGEMILL_ABI_H
#define STAGEMILL_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SM_ABI_MAJOR 1
#define SM_ABI_MINOR 0

/* The newest minor whose services the author opts into; recorded as the lowest host minor that can load the plugin. */
#ifndef SM_USE_MINOR
#define SM_USE_MINOR 0
#endif
#if SM_USE_MINOR > SM_ABI_MINOR
#error "SM_USE_MINOR asks for a newer minor than these headers describe: install newer stagemill headers"
#endif

/* ---- verdicts ------------------------------------------------------------------------------------------------ */

/* What a stage function and every host service answers. Fixed width: part of the ABI. */
typedef int32_t sm_status;
enum {
  SM_OK = 0,          /* done */
  SM_RETRY = 1,       /* the world's fault (network, storage, a peer): the engine may try again later */
  SM_FAIL = 2,        /* the input's or the operator's fault: trying again cannot help */
  SM_CANCELLED = 3,   /* the stage noticed sm_cancelled() and stopped */
  SM_UNSUPPORTED = 4, /* this host does not have the service that was called */
  SM_DONE = 5         /* media sinks only: satisfied, send me nothing more (see media.h) */
};

/* ---- parameters ---------------------------------------------------------------------------------------------- */

/* What kinds of value a parameter takes; or them together ("a duration or a percentage"). Units are written with the
 * number in YAML: 6s, 250ms, 800k, 1.5G, 10%. */
enum {
  SM_TAKES_TEXT = 1u << 0,
  SM_TAKES_KEYWORD = 1u << 1,  /* one of `choices` */
  SM_TAKES_INT = 1u << 2,
  SM_TAKES_NUMBER = 1u << 3,
  SM_TAKES_BOOL = 1u << 4,
  SM_TAKES_DURATION = 1u << 5, /* 90s, 1m30s, 250ms */
  SM_TAKES_SIZE = 1u << 6,     /* bytes: 64M, 1.5G (powers of 1024 with Ki/Mi/Gi, of 1000 with k/M/G) */
  SM_TAKES_BITRATE = 1u << 7,  /* bits per second: 800k, 5M */
  SM_TAKES_PERCENT = 1u << 8,  /* 10% */
  SM_TAKES_FILE = 1u << 9,     /* a file that ships beside the pipeline; pinned at submission; the stage sees a path */
  SM_TAKES_TARGET = 1u << 10,  /* a URL or a folder to write to */
  SM_TAKES_SECRET = 1u << 11,  /* usually ${{ secrets.NAME }}; never stored, never logged */
  SM_TAKES_RECORD = 1u << 12   /* a map whose keys `fields` describes */
};

/* Parameter flags. */
enum {
  SM_REQUIRED = 1u << 0, /* no default: the operator must write it */
  SM_REPEATED = 1u << 1  /* one value or a list of values */
};

/* One parameter of a stage. Everything the operator can write under `with:` is described by such rows: validation,
 * `stagemill stages NAME`, the JSON Schema, forms and manual pages all come from them. */
typedef struct sm_param {
  const char *name;              /* as written in YAML, lower case with dashes; NULL ends the table */
  uint32_t takes;                /* SM_TAKES_... bits */
  uint32_t flags;                /* SM_REQUIRED, SM_REPEATED */
  const char *fallback;          /* the default, written as in YAML; NULL: none (the value is then absent) */
  const char *choices;           /* "a|b|c" for SM_TAKES_KEYWORD, else NULL */
  double min, max;               /* range in the base unit (s, bytes, bit/s, %); min == max: no range */
  const char *unit;              /* for people: "px", "s", "frames"; NULL: none */
  const struct sm_param *fields; /* for SM_TAKES_RECORD: the record's own rows, else NULL */
  const char *summary;           /* one sentence for the operator */
} sm_param;

/* ---- ports --------------------------------------------------------------------------------------------------- */

enum {
  SM_PORT_ARTIFACT = 1, /* files with a media type */
  SM_PORT_VIDEO = 2,    /* decoded video frames */
  SM_PORT_AUDIO = 3,    /* decoded audio frames */
  SM_PORT_PACKETS = 4   /* encoded packets */
};
enum {
  SM_PORT_MANY = 1u << 0,     /* takes (or makes) any number of artifacts */
  SM_PORT_OPTIONAL = 1u << 1, /* an input that may stay unconnected; an output that may stay empty */
  /* output: stands in for the job's input for every later stage (fetch, for one);
   * input: takes the job's input (or what stands in for it) unless `inputs:` says otherwise, whatever artifacts
   * earlier stages made (probe, for one: its wildcard types would match any of them) */
  SM_PORT_SOURCE = 1u << 2
};

typedef struct sm_port {
  const char *name;  /* lower case with dashes; NULL ends the table */
  uint32_t kind;     /* SM_PORT_ARTIFACT, ... */
  uint32_t flags;    /* SM_PORT_MANY, ... */
  const char *types; /* media types, "image/jpeg|image/png" or with wildcards; NULL for frames */
  const char *summary;
} sm_port;

/* ---- results ------------------------------------------------------------------------------------------------- */

enum { /* type of a result, as expressions see it */
  SM_RESULT_TYPE_TEXT = 1,
  SM_RESULT_TYPE_INT = 2,
  SM_RESULT_TYPE_NUMBER = 3,
  SM_RESULT_TYPE_BOOL = 4,
  SM_RESULT_TYPE_DURATION = 5, /* microseconds on the wire, compared with 1s in expressions */
  SM_RESULT_TYPE_LIST = 6      /* list of text */
};
enum { /* when a result is known */
  SM_AT_OPEN = 1, /* from stream headers, before the first frame */
  SM_AT_END = 2   /* when the stage has finished */
};
enum { SM_RESULT_NULLABLE = 1u << 0 /* may be null although the stage succeeded */ };

typedef struct sm_result {
  const char *key; /* lower_case_with_underscores (used in expressions); NULL ends the table */
  uint32_t type;
  uint32_t available; /* SM_AT_OPEN or SM_AT_END */
  uint32_t flags;
  const char *unit;
  const char *summary;
} sm_result;

/* ---- stages and the plugin ----------------------------------------------------------------------------------- */

typedef struct sm_task sm_task;           /* one run of one stage; opaque beyond its host table */
typedef struct sm_media_ops sm_media_ops; /* media.h */

enum { SM_KIND_TASK = 1, SM_KIND_FILTER = 2, SM_KIND_SINK = 3 };

typedef sm_status (*sm_task_fn)(sm_task *task);

typedef struct sm_stage {
  const char *name; /* what `uses:` says; NULL ends the table */
  const char *summary;
  uint32_t kind;            /* SM_KIND_... */
  uint32_t flags;           /* reserved, 0 */
  const char *capabilities; /* "network exec", or NULL for none */
  const sm_param *params;
  const sm_port *inputs;
  const sm_port *outputs;
  const sm_result *results;
  sm_task_fn run;            /* SM_KIND_TASK */
  const sm_media_ops *media; /* SM_KIND_FILTER, SM_KIND_SINK */
  sm_task_fn plan;           /* optional: announce outputs, rungs and cost with sm_plan_note(); no side effects */
} sm_stage;

/* The one symbol a plugin exports, as `const sm_plugin stagemill_plugin`. Read only after the note was accepted. */
typedef struct sm_plugin {
  uint32_t size; /* sizeof(sm_plugin) as the plugin was compiled; likewise the strides below */
  uint16_t abi_major, abi_minor, lowest_host_minor, reserved;
  uint32_t stage_size, param_size, port_size, result_size;
  const char *id;      /* reverse domain name: org.example.digest */
  const char *version; /* the plugin's own version */
  const char *license; /* SPDX expression */
  const sm_stage *stages;
} sm_plugin;

/* The ELF note `.note.stagemill` (owner "stagemill", type 1): what the host reads, as bounded untrusted input, before
 * dlopen. Any disagreement between note and symbol is a refusal. libav versions are LIBAV*_VERSION_INT or 0 (unused). */
#define SM_NOTE_OWNER "stagemill"
#define SM_NOTE_TYPE 1u
typedef struct sm_note {
  uint32_t owner_size, desc_size, type;
  char owner[12]; /* "stagemill" and zero padding: 4-byte aligned as ELF wants it */
  uint16_t abi_major, abi_minor, lowest_host_minor, reserved;
  uint32_t avutil_version, avcodec_version;
  char id[64];
} sm_note;

#ifndef SM_AVUTIL_BUILT /* media.h defines them from the libav headers it was compiled with */
#define SM_AVUTIL_BUILT 0
#define SM_AVCODEC_BUILT 0
#endif

#define SM_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
#define SM_EXTERN_CONST extern "C" const
#else
#define SM_EXTERN_CONST const
#endif

/* Placed once, at file scope, after the stage table. `id` must be a string literal of at most 63 characters. */
#define SM_PLUGIN(id_, version_, license_, stages_)                                                                    \
  __attribute__((section(".note.stagemill"), used, aligned(4))) static const sm_note sm_plugin_note = {               \
    10, (uint32_t)(sizeof(sm_note) - offsetof(sm_note, abi_major)), SM_NOTE_TYPE, SM_NOTE_OWNER,                       \
    SM_ABI_MAJOR, SM_ABI_MINOR, SM_USE_MINOR, 0, SM_AVUTIL_BUILT, SM_AVCODEC_BUILT, id_};                              \
  SM_PLUGIN_DECLARE_                                                                                                   \
  SM_EXTERN_CONST SM_EXPORT sm_plugin stagemill_plugin = {                                                             \
    (uint32_t)sizeof(sm_plugin), SM_ABI_MAJOR, SM_ABI_MINOR, SM_USE_MINOR, 0, (uint32_t)sizeof(sm_stage),              \
    (uint32_t)sizeof(sm_param), (uint32_t)sizeof(sm_port), (uint32_t)sizeof(sm_result), id_, version_, license_,       \
    stages_}

#ifdef __cplusplus
#define SM_PLUGIN_DECLARE_
#else
#define SM_PLUGIN_DECLARE_ extern SM_EXPORT const sm_plugin stagemill_plugin;
#endif

/* ---- rows, positional so that C++17 takes them ------------------------------------------------------------------ */

#define SM_TEXT(name, fallback, summary) {name, SM_TAKES_TEXT, 0, fallback, NULL, 0, 0, NULL, NULL, summary}
#define SM_CHOICE(name, fallback, choices, summary)                                                                    \
  {name, SM_TAKES_KEYWORD, 0, fallback, choices, 0, 0, NULL, NULL, summary}
#define SM_INT(name, fallback, min, max, unit, summary)                                                                \
  {name, SM_TAKES_INT, 0, fallback, NULL, min, max, unit, NULL, summary}
#define SM_NUMBER(name, fallback, min, max, unit, summary)                                                             \
  {name, SM_TAKES_NUMBER | SM_TAKES_INT, 0, fallback, NULL, min, max, unit, NULL, summary}
#define SM_BOOL(name, fallback, summary) {name, SM_TAKES_BOOL, 0, fallback, NULL, 0, 0, NULL, NULL, summary}
#define SM_DURATION(name, fallback, min_s, max_s, summary)                                                             \
  {name, SM_TAKES_DURATION, 0, fallback, NULL, min_s, max_s, "s", NULL, summary}
#define SM_SIZE(name, fallback, min, max, summary)                                                                     \
  {name, SM_TAKES_SIZE, 0, fallback, NULL, min, max, "bytes", NULL, summary}
#define SM_BITRATE(name, fallback, min, max, summary)                                                                  \
  {name, SM_TAKES_BITRATE, 0, fallback, NULL, min, max, "bit/s", NULL, summary}
#define SM_PERCENT(name, fallback, min, max, summary)                                                                  \
  {name, SM_TAKES_PERCENT, 0, fallback, NULL, min, max, "%", NULL, summary}
#define SM_FILE(name, flags, summary) {name, SM_TAKES_FILE, flags, NULL, NULL, 0, 0, NULL, NULL, summary}
#define SM_TARGET(name, flags, summary) {name, SM_TAKES_TARGET, flags, NULL, NULL, 0, 0, NULL, NULL, summary}
#define SM_SECRET(name, flags, summary) {name, SM_TAKES_SECRET, flags, NULL, NULL, 0, 0, NULL, NULL, summary}
/* The general row, for "a duration or a percentage", lists and records. */
#define SM_PARAM(name, takes, flags, fallback, choices, min, max, unit, fields, summary)                               \
  {name, takes, flags, fallback, choices, min, max, unit, fields, summary}
#define SM_PARAMS_END {NULL, 0, 0, NULL, NULL, 0, 0, NULL, NULL, NULL}

#define SM_INPUT(name, types, summary) {name, SM_PORT_ARTIFACT, 0, types, summary}
#define SM_INPUTS(name, types, summary) {name, SM_PORT_ARTIFACT, SM_PORT_MANY, types, summary}
#define SM_OUTPUT(name, types, summary) {name, SM_PORT_ARTIFACT, 0, types, summary}
#define SM_OUTPUTS(name, types, summary) {name, SM_PORT_ARTIFACT, SM_PORT_MANY, types, summary}
#define SM_PORT(name, kind, flags, types, summary) {name, kind, flags, types, summary}
#define SM_VIDEO(name, flags, summary) {name, SM_PORT_VIDEO, flags, NULL, summary}
#define SM_AUDIO(name, flags, summary) {name, SM_PORT_AUDIO, flags, NULL, summary}
#define SM_PORTS_END {NULL, 0, 0, NULL, NULL}

#define SM_RESULT(key, type, available, flags, unit, summary) {key, type, available, flags, unit, summary}
#define SM_RESULT_TEXT(key, available, summary) {key, SM_RESULT_TYPE_TEXT, available, 0, NULL, summary}
#define SM_RESULT_INT(key, available, unit, summary) {key, SM_RESULT_TYPE_INT, available, 0, unit, summary}
#define SM_RESULT_NUMBER(key, available, unit, summary) {key, SM_RESULT_TYPE_NUMBER, available, 0, unit, summary}
#define SM_RESULT_BOOL(key, available, summary) {key, SM_RESULT_TYPE_BOOL, available, 0, NULL, summary}
#define SM_RESULT_DURATION(key, available, summary) {key, SM_RESULT_TYPE_DURATION, available, 0, "s", summary}
#define SM_RESULT_LIST(key, available, summary) {key, SM_RESULT_TYPE_LIST, available, 0, NULL, summary}
#define SM_RESULTS_END {NULL, 0, 0, 0, NULL, NULL}

#define SM_TASK_STAGE(name, summary, params, inputs, outputs, results, run)                                            \
  {name, summary, SM_KIND_TASK, 0, NULL, params, inputs, outputs, results, run, NULL, NULL}
/* The same with capabilities ("network", "exec", separated by blanks). */
#define SM_TASK_STAGE_CAP(name, summary, capabilities, params, inputs, outputs, results, run)                          \
  {name, summary, SM_KIND_TASK, 0, capabilities, params, inputs, outputs, results, run, NULL, NULL}
#define SM_MEDIA_STAGE(name, summary, kind, params, inputs, outputs, results, media, plan)                             \
  {name, summary, kind, 0, NULL, params, inputs, outputs, results, NULL, media, plan}
#define SM_STAGES_END {NULL, NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL}

#ifdef __cplusplus
}
#endif
#endif
