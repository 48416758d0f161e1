/* late.h - streams that a container announces but that begin too late for ordinary probing (sound that starts after
 * 20 s, a file with all pictures before all sound). Without this they would be left out without a word. */
#pragma once
#include "media/source.h"

/* Completes the parameters and start times of such streams in `ic`, by reading on (in a context of its own, without
 * keeping anything) until a frame of each decodes. */
void late_find(struct source *s, AVFormatContext *ic);
