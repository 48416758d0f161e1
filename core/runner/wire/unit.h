/* unit.h - what one attempt is told to do: a task, a pass over one source, or the plan() of stages.
 *
 * The engine builds a struct unit, unit_pack() writes it into a sealed memfd, the attempt reads it back with
 * unit_unpack(). Text may contain resolved secrets: the memfd is never written anywhere else.
 * Descriptors travel beside it (SCM_RIGHTS) in the order of `fd_count` slots; fields named *_slot index them. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/value.h"

enum { UNIT_STAGES_MAX = 32, UNIT_SLOTS_MAX = 64 };

enum unit_kind { UNIT_TASK = 1, UNIT_PASS, UNIT_PLAN };

struct unit_artifact { /* one input artifact of a stage */
  char *port;          /* the stage's own input port */
  char *name;          /* sm_input.name */
  char *path;          /* absolute path */
  char *media_type, *from_stage, *from_port, *sha256; /* NULL: unknown */
  int64_t size_bytes;  /* -1: unknown */
  bool is_source;
  int32_t root_slot;   /* descriptor slot: the file itself when `beneath` is empty, else a folder */
  char *beneath;       /* path below that folder, "" for the file itself */
};

struct unit_link { /* a frames port of a media stage: where its frames come from */
  char *port;
  int32_t from_stage; /* index into unit.stages of the filter, -1: the unit's source */
  char *from_port;    /* the filter's output port; NULL for the source */
};

struct unit_stage {
  char *id;          /* in the pipeline */
  char *uses;        /* stage name in its plugin */
  char *plugin_path, *plugin_sha256;
  uint32_t attempt;  /* from 1 */
  bool soft;         /* a failure of this one does not end the pass */
  int64_t timeout_us; /* (pass) a soft sink that is not through by then, counted from the start, is dropped; 0: none */
  bool done;         /* (pass) already committed: leave it out */
  struct value *params;      /* map, resolved and typed; secrets in clear */
  struct value *late;        /* (pass) map of param -> null: evaluated after the prologue, arrive with GO */
  struct value *checkpoints; /* map of text */
  struct unit_artifact *artifacts;
  uint32_t artifact_count;
  struct unit_link *links;
  uint32_t link_count;
  char *output_path;  /* absolute folder, made by the engine: OUT/.stagemill/JOB/FENCE/STAGE */
  char *scratch_path; /* absolute folder, made by the engine */
  char *keep_path;    /* absolute folder of the stage that outlives its attempts, until it has finished; NULL: none */
  int64_t scratch_quota_bytes; /* 0: none */
};

struct unit {
  enum unit_kind kind;
  char *job, *pipeline, *input_name;
  uint64_t fence;
  int64_t deadline_boot_us; /* 0: none */
  int64_t stall_us;         /* for information; the engine enforces it */
  uint32_t cores;
  int64_t memory_limit_bytes; /* RLIMIT_DATA and cgroup; 0: none */
  struct unit_artifact *source; /* (pass) what is demuxed */
  struct unit_stage *stages;
  uint32_t stage_count;
};

void unit_free(struct unit **unit);
void unit_pack(struct buf *out, const struct unit *unit);
enum err unit_unpack(const void *data, size_t size, struct unit **unit, struct error *e);
