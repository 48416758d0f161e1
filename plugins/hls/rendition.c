#include "rendition.h"

#include <libavutil/imgutils.h>
#include <libswscale/swscale.h>

sm_status rendition_open(struct rendition *r, const struct encoder_setup *encoder, struct segmenter_setup *segments,
                         struct fault *f) {
  r->packet = av_packet_alloc();
  r->scaled = av_frame_alloc();
  if (!r->packet || !r->scaled) return fault_set(f, SM_RETRY, AVERROR(ENOMEM), "out of memory");
  if (encoder && !(r->encoder = encoder_open(encoder, f))) return f->status;
  segments->video = r->encoder;
  r->segmenter = segmenter_open(segments, f);
  return r->segmenter ? SM_OK : f->status;
}

void rendition_close(struct rendition *r) {
  mp4_close(&r->mp4);
  segmenter_close(&r->segmenter);
  avcodec_free_context(&r->encoder);
  sws_freeContext(r->scaler);
  r->scaler = NULL;
  av_frame_free(&r->scaled);
  av_packet_free(&r->packet);
}

/* An even size is had by leaving out the last row or column, not by scaling everything by a thousandth. */
static bool fits_as_it_is(const struct rendition *r, const AVFrame *frame) {
  return frame->format == AV_PIX_FMT_YUV420P && (frame->width & ~1) == r->rung.width &&
         (frame->height & ~1) == r->rung.height;
}

static int prepare_scaled(struct rendition *r) {
  if (r->scaled->buf[0] && av_frame_is_writable(r->scaled)) return 0;
  av_frame_unref(r->scaled);
  r->scaled->format = AV_PIX_FMT_YUV420P;
  r->scaled->width = r->rung.width;
  r->scaled->height = r->rung.height;
  return av_frame_get_buffer(r->scaled, 0);
}

static int scale(struct rendition *r, const AVFrame *from) {
  int err = prepare_scaled(r);
  if (err < 0) return err;
  r->scaler = sws_getCachedContext(r->scaler, from->width, from->height, (enum AVPixelFormat)from->format,
                                   r->rung.width, r->rung.height, AV_PIX_FMT_YUV420P, SWS_BICUBIC, NULL, NULL, NULL);
  if (!r->scaler) return AVERROR(EINVAL);
  err = sws_scale(r->scaler, (const uint8_t *const *)from->data, from->linesize, 0, from->height, r->scaled->data,
                  r->scaled->linesize);
  return err < 0 ? err : 0;
}

/* A bare picture for the encoder: pixels, time and type, none of the source's side data. */
static AVFrame *bare(const struct rendition *r, const AVFrame *pixels, int64_t pts, bool key) {
  AVFrame *frame = av_frame_alloc();
  if (!frame || av_frame_ref(frame, pixels) < 0) {
    av_frame_free(&frame);
    return NULL;
  }
  while (frame->nb_side_data) av_frame_remove_side_data(frame, frame->side_data[0]->type);
  frame->width = r->rung.width;
  frame->height = r->rung.height;
  frame->crop_top = frame->crop_left = frame->crop_bottom = frame->crop_right = 0;
  frame->sample_aspect_ratio = (AVRational){1, 1};
  frame->pts = pts;
  frame->pict_type = key ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
  return frame;
}

static sm_status deliver(struct rendition *r, struct fault *f) {
  AVPacket *p = r->packet;
  __atomic_store_n(&r->reached, p->pts, __ATOMIC_RELAXED);
  if (r->mp4 && mp4_packet(r->mp4, p, AVMEDIA_TYPE_VIDEO, f) != SM_OK) return f->status;
  return segmenter_video(r->segmenter, p, f);
}

static sm_status drain(struct rendition *r, struct fault *f) {
  for (;;) {
    int err = avcodec_receive_packet(r->encoder, r->packet);
    if (err == AVERROR(EAGAIN) || err == AVERROR_EOF) return SM_OK;
    if (err < 0) return fault_set(f, SM_FAIL, err, "the H.264 encoder of rendition %s failed", r->rung.name);
    if (deliver(r, f) != SM_OK) return f->status;
  }
}

static sm_status encode(struct rendition *r, const AVFrame *pixels, int64_t pts, bool key, struct fault *f) {
  AVFrame *frame = bare(r, pixels, pts, key);
  if (!frame) return fault_set(f, SM_RETRY, AVERROR(ENOMEM), "out of memory in rendition %s", r->rung.name);
  int err = avcodec_send_frame(r->encoder, frame);
  av_frame_free(&frame);
  if (err < 0)
    return fault_set(f, err == AVERROR(ENOMEM) ? SM_RETRY : SM_FAIL, err,
                     "the H.264 encoder of rendition %s failed at %.3f s", r->rung.name,
                     (double)pts / r->encoder->time_base.den);
  return drain(r, f);
}

sm_status rendition_picture(struct rendition *r, const AVFrame *source, const AVFrame **best, int64_t pts, bool key,
                            struct fault *f) {
  if (!r->encoder) return SM_OK;
  bool enough = (*best)->width >= r->rung.width && (*best)->height >= r->rung.height;
  const AVFrame *pixels = enough ? *best : source;
  if (!fits_as_it_is(r, pixels)) {
    int err = scale(r, pixels);
    if (err < 0)
      return fault_set(f, SM_FAIL, err, "cannot scale %dx%d to %dx%d for rendition %s", pixels->width, pixels->height,
                       r->rung.width, r->rung.height, r->rung.name);
    pixels = r->scaled;
    if (pixels->width <= source->width && pixels->height <= source->height) *best = pixels;
  }
  return encode(r, pixels, pts, key, f);
}

sm_status rendition_sound(struct rendition *r, const AVPacket *packet, struct fault *f) {
  if (r->mp4 && mp4_packet(r->mp4, packet, AVMEDIA_TYPE_AUDIO, f) != SM_OK) return f->status;
  AVPacket *own = av_packet_clone(packet);
  if (!own) return fault_set(f, SM_RETRY, AVERROR(ENOMEM), "out of memory in rendition %s", r->rung.name);
  sm_status status = segmenter_audio(r->segmenter, own, f);
  av_packet_free(&own);
  return status;
}

sm_status rendition_end(struct rendition *r, int64_t end, struct fault *f) {
  if (r->encoder) {
    int err = avcodec_send_frame(r->encoder, NULL);
    if (err < 0) return fault_set(f, SM_FAIL, err, "the H.264 encoder of rendition %s failed at its end", r->rung.name);
    if (drain(r, f) != SM_OK) return f->status;
  }
  if (segmenter_end(r->segmenter, end, f) != SM_OK) return f->status;
  return r->mp4 ? mp4_end(r->mp4, f) : SM_OK;
}

int64_t rendition_reached(const struct rendition *r) { return __atomic_load_n(&r->reached, __ATOMIC_RELAXED); }
