/* task.h - the host services of one stage: the table behind struct sm_task. */
#pragma once
#include "base/error.h"
#include "runner/attempt.h"

void task_init(struct task *t, struct attempt *a, int32_t index, const sm_stage *stage);
/* Keeps a copy until the process ends. */
const char *task_keep(struct task *t, const char *text);
/* [any thread] The stage broke its contract: it fails with this sentence whatever it returns. Answers SM_FAIL. */
sm_status task_broken(struct task *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* [any thread] Records the sentences of a failure found by the host, unless the stage has given its own. */
void task_blame(struct task *t, sm_status status, const char *message, const char *debug);
/* [any thread] Sends what is pending and the VERDICT, once; stats (may be NULL) is copied. */
void task_verdict(struct task *t, sm_status status, const struct value *stats);
/* Sends the lists among the results whose row says `available`. */
void task_flush_lists(struct task *t, uint32_t available);

/* Slots of the table, one file a subject. */
sm_status task_param(sm_task *task, const char *path, sm_value *value, uint32_t value_size);
sm_status task_input(sm_task *task, const char *port, uint32_t index, sm_input *input, uint32_t input_size);
int task_input_count(sm_task *task, const char *port);
int task_input_open(sm_task *task, const char *port, uint32_t index);
const char *task_input_path(sm_task *task, const char *port, uint32_t index);
const char *task_output_path(sm_task *task, const char *port, const char *name);
sm_status task_output(sm_task *task, const char *port, const char *name, const char *media_type, const char *metadata);
sm_status task_result(sm_task *task, const char *key, const sm_value *value, uint32_t value_size);
sm_status task_result_item(sm_task *task, const char *key, const char *text);
/* What an otherwise successful stage has failed to deliver; false with a sentence recorded. */
bool task_is_complete(struct task *t);

/* A fresh descriptor of an artifact at offset 0, or -1 with errno. */
int artifact_open(const struct attempt *a, const struct unit_artifact *artifact);
