/* crew.h - the engine's hands: starts zygotes, starts attempts in them, watches and ends them.
 *
 * All calls and callbacks on the loop's thread. A zygote with libav and one without are started on first need and
 * restarted when they die; plugins with threads run by fresh exec. Never forks in this process without exec. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "host/catalogue.h"
#include "wire/message.h"
#include "wire/page.h"
#include "wire/unit.h"

struct crew;
struct crew_options {
  const char *runner_path;
  const char *pass_module_path; /* the private pass executor module, loaded by the libav zygote */
  struct catalogue *catalogue;  /* borrowed for life */
  int64_t stall_us, cancel_grace_us, term_grace_us; /* 0: 5 min, 10 s, 5 s */
  int64_t log_limit_bytes;                          /* per attempt; 0: 4 MiB */
  int attempt_uid, attempt_gid;                     /* -1: keep */
};
enum err crew_create(struct crew **crew, struct loop *loop, const struct crew_options *options, struct error *e);
/* Kills what is left, reaps, frees. No callback is made: end the attempts and await `ended` first where that matters. */
void crew_destroy(struct crew **crew);

enum attempt_end {
  ATTEMPT_ENDED = 1, /* ran to its end: see the verdicts */
  ATTEMPT_CRASHED,   /* signal */
  ATTEMPT_EXITED,    /* exit code without BYE */
  ATTEMPT_TIMED_OUT,
  ATTEMPT_STALLED,
  ATTEMPT_CANCELLED, /* because crew_cancel was called, whatever way it ended */
  ATTEMPT_MEMORY,    /* memory limit */
  ATTEMPT_QUOTA,     /* scratch quota, or wrote more than its folders may hold */
  ATTEMPT_PROTOCOL,  /* broke the attempt protocol */
  ATTEMPT_LOST,      /* its zygote died: not the attempt's fault */
  ATTEMPT_REFUSED,   /* could not be started */
};
const char *attempt_end_word(enum attempt_end end); /* "crashed" */

enum verdict { VERDICT_NONE = 0, VERDICT_OK, VERDICT_RETRY, VERDICT_FAIL, VERDICT_CANCELLED };

struct attempt_verdict {
  enum verdict verdict; /* NONE: the attempt ended before this stage did */
  char message[1024], debug[1024];
  struct value *stats; /* map or NULL */
};

struct attempt_outcome {
  enum attempt_end end;
  struct error error;  /* operator sentence for every end but ENDED: "stage crashed (SIGSEGV) ..." */
  int signal, exit_code;
  int32_t suspect;     /* stage whose thread crashed, -1: unknown */
  uint32_t stage_count;
  struct attempt_verdict *verdicts; /* stage_count of them, valid during the callback */
  struct value *stats; /* BYE's: {decodedVideoFrames, ...} or NULL */
  int64_t cpu_us, max_rss_bytes, wall_us;
  char *log_tail;      /* last lines of stdout and stderr, "" when silent */
};

struct attempt;
struct attempt_progress {
  uint32_t stage_count;
  struct { double fraction; /* < 0: unknown */ uint32_t item, items; uint64_t frames; } stages[UNIT_STAGES_MAX];
  uint64_t decoded_video_frames, decoded_audio_frames;
};
struct attempt_callbacks {
  void (*started)(void *context, struct attempt *a, int pid);
  /* OPENED, RESULT, OUTPUT, CHECKPOINT, TITLE, NOTE, VERDICT of a valid protocol; bodies checked for shape. */
  void (*message)(void *context, struct attempt *a, const struct message *m);
  void (*progress)(void *context, struct attempt *a, const struct attempt_progress *p); /* 10 Hz, when changed */
  void (*log)(void *context, struct attempt *a, int32_t stage, int level, const char *line);
  /* Last call. The process and all its descendants are gone; `a` is freed afterwards. */
  void (*ended)(void *context, struct attempt *a, const struct attempt_outcome *outcome);
};

struct attempt_start {
  const struct unit *unit; /* copied */
  const int *slots;        /* descriptors, duplicated by the call */
  uint32_t slot_count;
  const char *log_path;    /* file for stdout and stderr, appended, capped; NULL: only the tail is kept */
  int64_t timeout_us;      /* wall time from start; 0: none */
  int64_t stall_us;        /* 0: the crew's */
  int64_t memory_limit_bytes;
};
/* On success `ended` comes exactly once, later. */
enum err crew_start(struct crew *crew, const struct attempt_start *start, const struct attempt_callbacks *callbacks,
                    void *context, struct attempt **attempt, struct error *e);
/* Answers OPENED. dropped: stage indices; params: map index -> map. */
enum err attempt_go(struct attempt *a, const struct value *body, struct error *e);
/* Cooperative first (shared page), SIGTERM after the grace, SIGKILL after the next; kill_now skips the ladder. */
void attempt_cancel(struct attempt *a, bool kill_now);
int attempt_pid(const struct attempt *a);
