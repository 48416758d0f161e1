/* bars.h - a block of lines at the bottom of a terminal that is drawn over and over; text scrolls above it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct bars;
struct bars *bars_new(int fd);
void bars_free(struct bars **bars);
/* Scrolls one line of text out above the block. */
void bars_print(struct bars *bars, const char *line);
void bars_begin(struct bars *bars); /* starts a new picture of the block */
/* name | bar | percent | tail; fraction < 0: unknown, the bar shows that something moves. */
void bars_line(struct bars *bars, const char *name, double fraction, const char *tail);
void bars_draw(struct bars *bars);  /* shows it, at most 10 times a second unless `force` */
void bars_force(struct bars *bars);
