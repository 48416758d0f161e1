/* reader.h - one demuxer context over the input, with the pass's clock: timestamps begin at 0 and survive jumps. */
#pragma once
#include <libavformat/avformat.h>

#include "media/demux.h"

struct source;
struct reader;

/* Opens the container and probes its streams. NULL with *error an AVERROR. */
struct reader *reader_create(struct source *source, int *error);
void reader_destroy(struct reader **reader);
AVFormatContext *reader_format(struct reader *reader);
/* 1: *packet is owned by the caller, its timestamps on the pass's clock in the stream's own time base; *stream is the
 * origin's index, *at_us its place in time. 0: end. Negative: AVERROR. Skips other streams. */
int reader_next(struct reader *reader, AVPacket **packet, uint32_t *stream, int64_t *at_us);
void reader_want(struct reader *reader, uint32_t stream, bool wanted);
/* To the last keyframe of `stream` at or before time_us (pass's clock). 0 or an AVERROR. */
int reader_seek(struct reader *reader, uint32_t stream, int64_t time_us);
/* Table for demux.h; `source` is a struct source. */
extern const struct reader_ops reader_ops;
