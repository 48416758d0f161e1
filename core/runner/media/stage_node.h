/* stage_node.h - one media stage of the pass: its thread, its streams, its calls.
 *
 *   IDLE -> OPENING -> OPENED -> RUNNING -> ENDED          the main thread asks for OPENING, RUNNING, LEAVING;
 *              |          +----> LEAVING --> ENDED          the stage's own thread does the rest
 *              +-------------------------> ENDED
 */
#pragma once
#include "media/convert.h"
#include "media/parts.h"

enum stage_phase { STAGE_IDLE = 1, STAGE_OPENING, STAGE_OPENED, STAGE_RUNNING, STAGE_LEAVING, STAGE_ENDED };

struct stage_input {
  sm_stream desc; /* as offered; open() wrote the wants */
  struct outlet *from;
  struct convert_target now; /* format of the frames the stage was promised */
  struct converter *guard;   /* brings later formats back to the promised one */
  bool nothing;              /* want_none */
  int64_t *times_us;         /* sm_only_at */
  uint32_t time_count, time_flags;
};

struct stage_output {
  sm_stream desc;
  struct outlet out;
  int64_t last_pts; /* timestamps a filter emits must not fall back */
};

struct stage_host { /* task->media_host points here */
  sm_media_host table;
  struct stage *stage;
};

struct stage {
  struct pass *pass;
  int32_t index;
  const struct unit_stage *spec;
  sm_task *task;
  const sm_stage *row;
  const sm_media_ops *ops;
  struct stage_host host;
  enum stage_phase phase; /* pass.lock */
  bool has_thread;
  pthread_t thread;
  bool active; /* takes part: not done, or needed by a stage that is not */
  bool late;   /* opens after GO */
  bool dropped;
  bool bypassed; /* failed softly in open; its consumers take what it would have taken */
  bool opened;   /* open() succeeded, close() is due */
  bool passing;  /* failed softly while running, frames go through unchanged */
  bool released; /* [main] asked to run */
  bool in_open, verdict_sent;
  bool abandoned;     /* [main] its verdict was given without it */
  int64_t overdue_us; /* [pass.lock] when its time was up: it ends as a soft failure, the pass goes on; 0: it is not */
  sm_status verdict;
  void *self;
  struct flow_node *node;
  struct stage_input *inputs; /* in the order of open()'s `in` */
  uint32_t input_count;
  uint32_t *queue_inputs; /* flow input -> inputs[] */
  struct stage_output outputs[PASS_OUTPUTS_MAX];
  uint32_t output_count;
  uint32_t fraction_ppm; /* last written; another value in the page means that the stage reports its own */
  bool own_progress;
  uint64_t frames[3]; /* by SM_STREAM_... */
};

/* [main] Fills inputs from the links. false: a stage it depends on is not there any more (pass_fault or blame done). */
bool stage_collect(struct stage *stage);
bool stage_start_thread(struct stage *stage);
/* [main] Moves the stage on and waits until its thread has answered (OPENING) or not (RUNNING, LEAVING). */
void stage_ask(struct stage *stage, enum stage_phase phase);
bool stage_is_filter(const struct stage *stage);
/* [stage thread] Sends the verdict once. */
void stage_verdict(struct stage *stage, sm_status status);
/* [stage thread] The loop over merged streams, until its end (stage_run.c). */
void stage_run(struct stage *stage);
/* [main] Ends soft sinks whose time is up; the rest of the pass goes on without them (late_stage.c). */
void stages_check_time(struct pass *pass);
bool stage_is_overdue(struct stage *stage);
void stage_blame_overdue(struct stage *stage);
/* [main] An overdue stage that does not even come back from its call: its verdict is given without it. */
bool stage_abandon(struct stage *stage);
/* [stage thread] Ends it with a failure: decides between soft and hard. */
void stage_failed(struct stage *stage, sm_status status);
sm_status stage_close(struct stage *stage, sm_status why);
void stage_host_init(struct stage *stage);
void stage_free(struct stage *stage);
#define STAGE_OPS_HAVE(stage, slot)                                                                                    \
  ((stage)->ops->size >= offsetof(sm_media_ops, slot) + sizeof((stage)->ops->slot) && (stage)->ops->slot != NULL)
