/* stagemill/media.h - stages that work on decoded frames: filters and sinks.
 *
 * SPDX-License-Identifier: MIT
 *
 * The host opens the source once, demuxes and decodes it once, normalises it (rotation applied, square pixels,
 * deinterlaced, timestamps from 0) and hands the frames to every stage of the pass:
 *
 *   open(in, out)                 see what comes, say what you want, announce what you make
 *   | format(stream)              a stream changes in mid-course (only with SM_MEDIA_TAKES_CHANGES)
 *   | frame(stream, frame)        one frame; sm_emit() passes frames on
 *   | nothing_before(stream, t)   no frame before t will come on this stream (sparse or late audio)
 *   | flush(stream)               the stream has ended; emit what you hold
 *   close(why)                    always, exactly once after a successful open
 *
 * Threads: all calls of one instance come on one thread that the host named after the stage, never concurrently.
 * sm_emit() only from inside them; it may block (back-pressure). A stage may own threads; it joins them in close.
 * Frames: borrowed references with system memory, read-only unless av_frame_make_writable() made a copy. Keep one with
 * av_frame_ref(). frame->pts is in the stream's time base and not NULL-valued; frame->pkt_duration may be 0. Streams
 * arrive merged in timestamp order within a bounded window.
 * Formats: in `open` set in[i].want_... to have the host convert, once for all consumers that want the same.
 *
 * Refused by the host: another libavutil major or an older minor than compiled against; the same for libavcodec when
 * SM_SEES_PACKETS is defined before this header.
 */
#ifndef STAGEMILL_MEDIA_H
#define STAGEMILL_MEDIA_H

#include <libavutil/version.h>
#undef SM_AVUTIL_BUILT
#undef SM_AVCODEC_BUILT
#define SM_AVUTIL_BUILT LIBAVUTIL_VERSION_INT
#ifdef SM_SEES_PACKETS
#include <libavcodec/version.h>
#define SM_AVCODEC_BUILT LIBAVCODEC_VERSION_INT
#else
#define SM_AVCODEC_BUILT 0
#endif

#include <stagemill/stage.h>

#ifdef __cplusplus
extern "C" {
#endif

#include <libavutil/frame.h>
#include <libavutil/rational.h>

struct AVPacket;
struct AVCodecParameters;

enum { SM_STREAM_VIDEO = 1, SM_STREAM_AUDIO = 2 };

/* One stream at a port. Formats are libav's enum values as int32_t. */
typedef struct sm_stream {
  uint32_t size;  /* sizeof(sm_stream) of the host */
  uint32_t kind;  /* SM_STREAM_VIDEO, SM_STREAM_AUDIO */
  const char *port; /* the stage's own port it arrives at or leaves from */
  uint32_t index;   /* n-th stream at that port (several audio tracks), from 0 */
  uint32_t is_default;
  const char *language; /* ISO 639-2 code or NULL */
  const char *codec;    /* codec of the source stream, "h264", "aac" */
  AVRational time_base;
  int64_t start_us;    /* of the first frame on the pass's common clock (>= 0) */
  int64_t duration_us; /* of this stream; 0: unknown */
  /* video */
  int32_t width, height; /* after rotation and with square pixels */
  AVRational frame_rate; /* average; 0/1: unknown */
  uint32_t is_vfr;       /* 1: frames are not evenly spaced */
  int32_t pixel_format;
  int32_t color_range, color_primaries, color_transfer, color_space, chroma_location;
  int32_t rotation; /* degrees that the host applied: 0, 90, 180, 270 (for information) */
  /* audio */
  int32_t sample_rate, sample_format, channels;
  uint64_t channel_mask; /* AV_CH_LAYOUT_..., 0: unknown order */
  /* what the stage wants instead; 0 (or -1 for the two formats) keeps what is offered. Set in open(). */
  int32_t want_width, want_height; /* exactly; keep even */
  int32_t want_pixel_format;       /* -1: keep */
  uint32_t want_sdr;               /* 1: tone-map to BT.709 SDR when the source is HDR */
  int32_t want_sample_rate, want_sample_format, want_channels; /* format -1: keep */
  uint32_t want_none; /* 1: do not deliver this stream */
} sm_stream;

enum { /* sm_media_ops.flags */
  SM_MEDIA_BYPASS = 1u << 0,       /* a filter that fails softly lets its frames pass unchanged */
  SM_MEDIA_TAKES_CHANGES = 1u << 1 /* has format(); without it the host scales later frames to the first format */
};

/* The calls of a media stage. `self` is what open() stored. stream: index into open()'s `in`. SM_OK goes on; SM_DONE (sinks) closes the stage
 * at once with its outputs declared so far, and the engine commits it while the pass goes on; anything else fails it. */
struct sm_media_ops {
  uint32_t size; /* sizeof(sm_media_ops) */
  uint32_t flags;
  /* in: what is offered, `want_` fields writable. out: room for out_count streams; a filter fills them and sets
   * *out_count (sinks: 0). A filter's frames on output stream i go out with sm_emit(task, i, frame). */
  sm_status (*open)(sm_task *task, sm_stream *in, uint32_t in_count, sm_stream *out, uint32_t *out_count, void **self);
  sm_status (*format)(sm_task *task, void *self, uint32_t stream, const sm_stream *now);
  sm_status (*frame)(sm_task *task, void *self, uint32_t stream, AVFrame *frame);
  sm_status (*nothing_before)(sm_task *task, void *self, uint32_t stream, int64_t pts);
  sm_status (*flush)(sm_task *task, void *self, uint32_t stream);
  /* why: SM_OK after all flushes (finish and declare outputs here), SM_DONE after the stage said so, else SM_CANCELLED
   * or SM_FAIL (release only). */
  sm_status (*close)(sm_task *task, void *self, sm_status why);
  /* sizeof(sm_stream) as the stage was compiled: the host lays out `in` and `out` with this stride, so that in[i] means
   * the same on both sides when the struct grows. 0: the size of minor 0. SM_MEDIA_OPS fills it in. */
  uint32_t stream_size, reserved;
};
/* The table of a media stage: SM_MEDIA_OPS(0, open, format or NULL, frame, nothing_before or NULL, flush, close). */
#define SM_MEDIA_OPS(flags, open, format, frame, nothing_before, flush, close)                                         \
  {(uint32_t)sizeof(sm_media_ops), flags, open, format, frame, nothing_before, flush, close,                           \
   (uint32_t)sizeof(sm_stream), 0}

/* What the pass knows about its source. Durations with the way they were found. */
enum { SM_DURATION_UNKNOWN = 1, SM_DURATION_HEADER = 2, SM_DURATION_SCAN = 3 };
typedef struct sm_source {
  uint32_t size;
  uint32_t duration_method; /* SM_DURATION_... */
  int64_t duration_us;      /* 0: unknown */
  const char *container;    /* "mov,mp4,m4a,3gp,3g2,mj2" */
  const char *name;         /* base name of the source */
  uint32_t seekable;
  uint32_t cores; /* how many cores this attempt should use, at least 1 */
} sm_source;

typedef struct sm_media_host {
  uint32_t size;
  uint32_t reserved;
  sm_status (*emit)(sm_task *, uint32_t stream, AVFrame *frame);
  sm_status (*emit_nothing_before)(sm_task *, uint32_t stream, int64_t pts);
  sm_status (*source)(sm_task *, sm_source *source, uint32_t size);
  sm_status (*only_at)(sm_task *, uint32_t stream, const int64_t *times_us, uint32_t count, uint32_t flags);
} sm_media_host;

#define SM_MEDIA_HAS_(task, slot)                                                                                      \
  ((task)->media_host &&                                                                                               \
   ((const sm_media_host *)(task)->media_host)->size >= offsetof(sm_media_host, slot) + sizeof(void *) &&              \
   ((const sm_media_host *)(task)->media_host)->slot)

/* Passes a frame on; the host takes its own reference. May block while consumers are busy. SM_CANCELLED: stop. */
SM_INLINE_ sm_status sm_emit(sm_task *task, uint32_t stream, AVFrame *frame) {
  if (!SM_MEDIA_HAS_(task, emit)) return SM_UNSUPPORTED;
  return ((const sm_media_host *)task->media_host)->emit(task, stream, frame);
}
/* Tells consumers that no frame before pts (in the output stream's time base) will be emitted. */
SM_INLINE_ sm_status sm_emit_nothing_before(sm_task *task, uint32_t stream, int64_t pts) {
  if (!SM_MEDIA_HAS_(task, emit_nothing_before)) return SM_UNSUPPORTED;
  return ((const sm_media_host *)task->media_host)->emit_nothing_before(task, stream, pts);
}
/* Facts about the source, valid from open() on. */
SM_INLINE_ sm_status sm_source_info(sm_task *task, sm_source *source) {
  if (!SM_MEDIA_HAS_(task, source)) return SM_UNSUPPORTED;
  return ((const sm_media_host *)task->media_host)->source(task, source, (uint32_t)sizeof *source);
}
/* In open() only: this sink needs no more than the frame shown at each of these times (ascending, microseconds on the
 * pass's clock). When every stage of the pass says so the host seeks instead of decoding everything; the sink gets
 * the frame that is on screen at each time, in order. With SM_NEAREST_KEYFRAME the nearest keyframe will do. */
enum { SM_NEAREST_KEYFRAME = 1u << 0 };
SM_INLINE_ sm_status sm_only_at(sm_task *task, uint32_t stream, const int64_t *times_us, uint32_t count,
                                uint32_t flags) {
  if (!SM_MEDIA_HAS_(task, only_at)) return SM_UNSUPPORTED;
  return ((const sm_media_host *)task->media_host)->only_at(task, stream, times_us, count, flags);
}

#ifdef __cplusplus
}
#endif
#endif
