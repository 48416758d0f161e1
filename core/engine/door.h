/* door.h - the owner's door: a Unix socket in the state folder (control.sock, 0600). One JSON object a line each way.
 *
 *   request  {"op": "hello" | "jobs" | "job" | "cancel" | "retry" | "pause" | "resume" | "priority" | "release" | "delete" |
 *                   "follow" | "run" | "backup" | "check" | "export" | "prune", ...}
 *   answer   {"ok": true, ...} or {"ok": false, "code": "conflict", "message": "..."}
 *   follow and run: after the answer come events, `state` first, one a line, until the job has ended.
 *
 *   hello                        -> pid, version
 *   jobs    status, limit        -> jobs: [...]
 *   job     id                   -> job: {...}
 *   cancel  id                   -> (once durable)
 *   retry   id, whole | from, params: {NAME: TEXT}  -> (once durable)
 *   pause   id, or what: "queue" | "pipeline:NAME"; until: time, by  -> (once durable)
 *   resume  id, or what          -> (once durable)
 *   priority id, priority: high | normal | low | 0-100  -> (once durable)
 *   release id, stage, decision: released | rejected, values: {NAME: TEXT}, comment, by  -> (once durable)
 *   delete  id                   -> (once durable; the record, logs and state, not what was published)
 *   follow  id                   -> jobId, then events
 *   run     identity             -> jobId, then events; refused when this owner runs something else (starting: true when it
 *                                   may be this, not yet on disk: ask again)
 *   backup  folder               -> files, bytes: the store at one moment, pipelines, assets and manifests
 *   check                        -> problems, lines: [...] (ok also with problems: they are the answer)
 *   export  file                 -> (once written)
 *   prune   completedAgeUs, failedAgeUs, completedCount, failedCount -> removed
 *
 * `id` may be a unique prefix or "last". Without an owner the same requests are answered by door_answer in the
 * process that asks, which owns the folder for that moment. */
#pragma once
#include "engine/engine.h"

struct door;
/* Listens on STATE/control.sock (a stale one is replaced: the caller owns the folder). Lives on the engine's loop. */
enum err door_open(struct door **door, struct engine *engine, struct loop *loop, const char *state_folder,
                      struct error *e);
void door_close(struct door **door); /* flushes what clients can take, removes the socket */

/* Answers one request; `answer` is owned by the callback's caller. follow and run are not for this function. */
typedef void door_answered(void *context, const struct value *answer);
void door_answer(struct engine *engine, const struct value *request, door_answered *done, void *context);

/* The other side, blocking: connects to the owner of a state folder. Returns a descriptor or -1 (nobody there). */
int door_connect(const char *state_folder);
enum err door_send(int fd, const struct value *request, struct error *e);
/* One line; `rest` keeps what was read beyond it. ERR_LOST at the end. timeout_ms -1: none. */
enum err door_receive(int fd, struct buf *rest, int timeout_ms, struct value **line, struct error *e);
