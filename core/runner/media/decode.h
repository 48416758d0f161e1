/* decode.h - one decoder a stream, on a thread of its own; video with the decoder's own frame threads beneath it. */
#pragma once
#include "media/source.h"

/* The codec context of a stream, open. NULL with *error an AVERROR. */
AVCodecContext *decode_open(const struct source *s, uint32_t stream, int *error);
/* Starts the thread that takes packets from the stream's node and pushes frames into its outlet. */
bool decode_start(struct source *s, uint32_t stream);
void decode_wait(struct source *s, uint32_t stream);
void decode_free(struct source *s, uint32_t stream);
