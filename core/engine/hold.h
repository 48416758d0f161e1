/* hold.h - stages that wait for a person: their plugin declares the capability "person", so that they are never started as
 * a process. What is asked stands in the job's extra_json: {"holds": {STAGE: {title, message, fields, sinceUs, untilUs,
 * soft}}}. */
#pragma once
#include "engine/job.h"

void hold_begin(struct job *job, size_t stage); /* its turn has come */
bool hold_overdue(struct job *job); /* fails those whose time is over; true: one was */
int64_t hold_alarm_us(const struct job *job); /* wall: when the first one's time is over; 0: never */
void hold_text(const struct job *job, char *text, size_t size); /* what the job waits for; "": nothing */
/* From a record, of a job that is not in memory. */
bool hold_is_open(const struct job_record *job);
int64_t hold_until_us(const struct job_record *job);
