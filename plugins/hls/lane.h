/* lane.h - a thread with a short bounded queue that scales and encodes one or several renditions. The stage's thread
 * feeds every lane; a lane waits for nobody but its own queue, so a full one can hold up the stage and never another
 * lane. */
#pragma once
#include <libavcodec/avcodec.h>
#include <stdbool.h>
#include <stddef.h>

#include "fault.h"
#include "rendition.h"

struct lane;

/* Asked now and then while waiting; true: give up. */
typedef bool (*lane_stop_fn)(void *opaque);

/* Renditions, largest first, stay the caller's and must outlive the lane. The thread bears the caller's name. */
struct lane *lane_start(struct rendition **renditions, size_t count, lane_stop_fn stop, void *opaque);
/* Drops what is queued and joins the thread. */
void lane_stop(struct lane **lane);

/* Each takes a reference of its own. They block while the queue is full; false: the lane has failed (lane_fault) or was
 * told to stop. */
bool lane_picture(struct lane *lane, const AVFrame *frame, int64_t pts, bool key);
bool lane_sound(struct lane *lane, const AVPacket *packet);
/* No more: encoders are flushed, the last segments end at `end`. */
bool lane_end(struct lane *lane, int64_t end);
/* After lane_end: waits until all is written. */
bool lane_wait(struct lane *lane);

/* Why it failed; status SM_OK: it did not. */
struct fault lane_fault(struct lane *lane);
