/* tonemap.h - HDR (PQ, HLG) pictures to BT.709 SDR, through libavfilter's zscale and tonemap. */
#pragma once
#include <libavutil/frame.h>
#include <stdbool.h>

bool tonemap_needed(int color_transfer);
struct tonemap;
struct tonemap *tonemap_create(unsigned threads);
void tonemap_destroy(struct tonemap **t);
/* *out: a new frame in yuv420p with BT.709 tags; the frame itself (a reference) when it is not HDR. 0 or an AVERROR. */
int tonemap_frame(struct tonemap *t, AVFrame *in, AVFrame **out);
