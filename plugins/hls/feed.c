/* feed.c - frames from the pass become items of the lanes. Two promises are kept here, on which everything after it
 * relies: pictures come at every grid point, and sound comes without holes for as long as there are pictures. */
#include <libavutil/mathematics.h>

#include "session.h"

/* A picture that starts this late is preceded by black when there is sound to go with it; less is left as it is. */
#define LATE_US 500000

static const AVRational ticks = {1, TICKS};
static const AVRational micros = {1, 1000000};

static int64_t to_us(int64_t at) { return av_rescale_q(at, ticks, micros); }
static int64_t to_ticks(int64_t us) { return us >= NO_LIMIT ? NO_LIMIT : av_rescale_q(us, micros, ticks); }

/* A lane said no: its fault is ours, or the attempt is being cancelled. */
static sm_status lane_gave_up(struct session *s, struct lane *lane) {
  struct fault f = lane_fault(lane);
  if (f.status == SM_OK) return SM_CANCELLED;
  if (s->fault.status == SM_OK) s->fault = f;
  return s->fault.status;
}

static sm_status push_picture(struct session *s, const AVFrame *frame, int64_t pts, bool key) {
  for (size_t i = 0; i < s->lane_count; i++)
    if (!lane_picture(s->lanes[i], frame, pts, key)) return lane_gave_up(s, s->lanes[i]);
  return SM_OK;
}

static sm_status push_sounds(struct session *s) {
  sm_status status = SM_OK;
  while (status == SM_OK && sound_packet(s->sound, s->packet, &s->fault)) {
    for (size_t i = 0; i < s->lane_count && status == SM_OK; i++)
      if (!lane_sound(s->lanes[i], s->packet)) status = lane_gave_up(s, s->lanes[i]);
    av_packet_unref(s->packet);
  }
  return status != SM_OK ? status : s->fault.status;
}

/* ---- gaps ----------------------------------------------------------------------------------------------------- */

static AVFrame *black(int width, int height) {
  AVFrame *frame = av_frame_alloc();
  if (!frame) return NULL;
  frame->format = AV_PIX_FMT_YUV420P;
  frame->width = width;
  frame->height = height;
  if (av_frame_get_buffer(frame, 0) < 0) {
    av_frame_free(&frame);
    return NULL;
  }
  for (int plane = 0; plane < 3; plane++) {
    int rows = plane ? (height + 1) / 2 : height;
    for (int y = 0; y < rows; y++)
      for (int x = 0; x < frame->linesize[plane]; x++)
        frame->data[plane][y * frame->linesize[plane] + x] = plane ? 128 : 16;
  }
  return frame;
}

/* Repeats the picture on screen at every grid point before `until` that would stay empty. */
static sm_status hold(struct session *s, int64_t until) {
  int64_t at;
  sm_status status = SM_OK;
  while (status == SM_OK && timeline_gap(&s->timeline, until, &at)) {
    bool key = true;
    if (!s->held && !(s->held = black(s->width, s->height)))
      return fault_set(&s->fault, SM_RETRY, AVERROR(ENOMEM), "out of memory");
    timeline_picture(&s->timeline, at, 0, &key);
    status = push_picture(s, s->held, at, key);
  }
  return status;
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

sm_status feed_balance(struct session *s) {
  if (s->video < 0 || s->audio < 0) return SM_OK;
  int64_t silent_until = smaller(s->audio_limit, s->video_reached);
  if (silent_until > 0) {
    sound_fill(s->sound, silent_until);
    if (push_sounds(s) != SM_OK) return s->fault.status != SM_OK ? s->fault.status : SM_CANCELLED;
  }
  int64_t until = smaller(s->video_limit, s->audio_reached);
  if (!s->timeline.started && until > LATE_US) timeline_from_zero(&s->timeline);
  return hold(s, to_ticks(until));
}

/* ---- frames --------------------------------------------------------------------------------------------------- */

static sm_status keep(struct session *s, AVFrame *frame) {
  av_frame_free(&s->held);
  s->held = av_frame_clone(frame);
  return s->held ? SM_OK : fault_set(&s->fault, SM_RETRY, AVERROR(ENOMEM), "out of memory");
}

sm_status feed_picture(struct session *s, AVFrame *frame) {
  int64_t pts = av_rescale_q(frame->pts, s->video_base, ticks);
  int64_t duration = av_rescale_q(frame->pkt_duration, s->video_base, ticks);
  if (s->audio >= 0 && pts > to_ticks(LATE_US)) timeline_from_zero(&s->timeline);
  sm_status status = hold(s, pts);
  bool key = false;
  if (status != SM_OK || !timeline_picture(&s->timeline, pts, duration, &key)) return status;
  status = push_picture(s, frame, pts, key);
  if (status == SM_OK) status = keep(s, frame);
  s->video_limit = s->video_reached = to_us(pts);
  return status == SM_OK ? feed_balance(s) : status;
}

sm_status feed_sound(struct session *s, const AVFrame *frame) {
  int64_t start = av_rescale_q(frame->pts, s->audio_base, micros);
  s->heard = true;
  sound_fill(s->sound, start);
  sm_status status = push_sounds(s);
  if (status == SM_OK) status = sound_frame(s->sound, frame, &s->fault);
  if (status == SM_OK) status = push_sounds(s);
  s->audio_limit = s->audio_reached = sound_end_us(s->sound);
  return status == SM_OK ? feed_balance(s) : status;
}

/* ---- the end -------------------------------------------------------------------------------------------------- */

static int64_t end_of_all(const struct session *s) {
  int64_t end = s->video >= 0 ? s->timeline.end : 0;
  int64_t sound_end = s->sound ? to_ticks(sound_end_us(s->sound)) : 0;
  return end > sound_end ? end : sound_end;
}

static sm_status fill_to_the_end(struct session *s) {
  s->video_limit = s->audio_limit = NO_LIMIT;
  if (s->video >= 0) s->video_reached = to_us(s->timeline.end);
  if (s->sound) s->audio_reached = sound_end_us(s->sound);
  sm_status status = feed_balance(s);
  if (status != SM_OK || !s->sound) return status;
  sound_end(s->sound);
  return push_sounds(s);
}

sm_status feed_end(struct session *s) {
  sm_status status = fill_to_the_end(s);
  for (size_t i = 0; i < s->lane_count && status == SM_OK; i++)
    if (!lane_end(s->lanes[i], end_of_all(s))) status = lane_gave_up(s, s->lanes[i]);
  for (size_t i = 0; i < s->lane_count && status == SM_OK; i++)
    if (!lane_wait(s->lanes[i])) status = lane_gave_up(s, s->lanes[i]);
  return status;
}
