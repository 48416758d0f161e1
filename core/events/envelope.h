/* envelope.h - the public form of an event: one JSON object, {"type", "jobId", "seq", "at", ...}, the same for
 * WebSocket, server-sent events, long poll, `--json` and the control socket. A pure formatter. */
#pragma once
#include "base/buf.h"
#include "base/value.h"
#include "store/store.h"

/* Whose event it is: {"jobId": subject}, or {"batchId": ...} or {"asset": ...} when the body names the subject as its
 * batch or asset: then the body's own "jobId", if any, stays. A stored lifecycle event, exactly as every follower sees
 * it now or later: its body's fields follow the four common ones. A body that is not a JSON object (which only a
 * damaged store could hold) is left out. */
void event_envelope(struct buf *out, const struct event_record *event);
/* Something that is not stored: `progress` and `state`. They carry the last seq that is. fields: a map, borrowed. */
struct value *event_unstored(const char *type, const char *job, uint64_t last_seq, int64_t at_us,
                             const struct value *fields);
/* True for completed, failed, cancelled and those of a batch: nothing of that round follows. */
bool event_is_terminal(const char *type);
