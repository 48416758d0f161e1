/* screen.h - shows a job's events to the person who waits: bars on a terminal, plain lines elsewhere, JSON for programs.
 *
 * Events are the public envelopes (DESIGN of events: core/events/envelope.h); where they come from, this process's own
 * engine or another owner's socket, makes no difference. Bars and lines go to stderr, the result and JSON to stdout. */
#pragma once
#include <stdbool.h>

#include "base/value.h"

enum screen_mode { SCREEN_BARS = 1, SCREEN_LINES, SCREEN_JSON, SCREEN_QUIET };

struct screen;
struct screen *screen_new(enum screen_mode mode, const char *output_folder); /* NULL: the job is a daemon's */
void screen_free(struct screen **screen); /* leaves the terminal as it was */
/* SCREEN_BARS when stderr is a terminal that can move its cursor, else SCREEN_LINES. */
enum screen_mode screen_detect(void);
void screen_event(struct screen *screen, const struct value *event, const char *json);
/* What an earlier run has left: which stages are kept, which go on. `state` is the `state` envelope. */
void screen_resumed(struct screen *screen, const struct value *state);
void screen_say(struct screen *screen, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The final word; answers the exit code: 0 completed, 1 failed, 4 cancelled, -1: the event is not terminal. */
int screen_outcome(struct screen *screen, const struct value *event);
