/* pause.h - what is paused and until when: the queue and pipelines (side records), single jobs (in their extra_json). */
#pragma once
#include "engine/job.h"

struct pause; /* of the queue or a pipeline */
enum err pauses_load(struct engine *engine, struct error *e);
void pauses_free(struct engine *engine);
const struct pause *pause_of_queue(const struct engine *engine);
const struct pause *pause_of_pipeline(const struct engine *engine, uint64_t digest); /* line_digest of its name */
/* "the queue is paused by anna until 2026-01-31T12:00:00.000Z" */
void pause_text(const struct pause *pause, char *text, size_t size);

/* A single job's; until 0: until it is resumed. Over by itself when its time has come. */
bool pause_of_extra(const struct engine *engine, const struct value *extra);
bool pause_of_job(const struct engine *engine, const struct job_record *job);
int64_t pause_until_us(const struct job_record *job);
void pause_extra_text(const struct value *extra, char *text, size_t size); /* "paused by anna until ..." */
