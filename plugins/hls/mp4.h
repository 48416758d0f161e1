/* mp4.h - the packets of one rendition once more, as one MP4 file with its index in front: a deliverable that costs no
 * encode. */
#pragma once
#include <libavcodec/avcodec.h>

#include "fault.h"

struct mp4;

/* path is absolute, name is what messages call it. */
struct mp4 *mp4_open(const char *path, const char *name, const AVCodecContext *video, const AVCodecContext *audio,
                     struct fault *f);
void mp4_close(struct mp4 **m);
/* Takes its own reference; the packet stays the caller's. */
sm_status mp4_packet(struct mp4 *m, const AVPacket *packet, enum AVMediaType type, struct fault *f);
sm_status mp4_end(struct mp4 *m, struct fault *f);
