#include "picture.h"

#include <math.h>
#include <string.h>

#include <libavutil/display.h>

static void read_matrix(const AVStream *stream, struct picture *p) {
  size_t size = 0;
  const uint8_t *data = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  if (!data || size < 9 * sizeof(int32_t)) return;
  int32_t m[9];
  memcpy(m, data, sizeof m);
  p->mirrored = (double)m[0] * m[4] - (double)m[1] * m[3] < 0;
  if (p->mirrored) m[0] = -m[0], m[1] = -m[1]; /* mirrored left to right first, then turned */
  double turn = av_display_rotation_get(m); /* counter-clockwise, NaN for a singular matrix */
  if (isnan(turn)) return;
  p->angle = fmod(360 - turn, 360);
  p->rotation = (int)lround(p->angle / 90) * 90 % 360;
}

void picture_of(AVFormatContext *format, AVStream *stream, struct picture *p) {
  const AVCodecParameters *c = stream->codecpar;
  *p = (struct picture){.sample_aspect = av_guess_sample_aspect_ratio(format, stream, NULL)};
  if (p->sample_aspect.num <= 0 || p->sample_aspect.den <= 0) p->sample_aspect = (AVRational){1, 1};
  read_matrix(stream, p);
  /* Pixels are stretched, never squeezed: wide ones widen the picture, tall ones heighten it. */
  double aspect = av_q2d(p->sample_aspect), stretch = aspect > 1 ? aspect : 1 / aspect;
  int wide = c->width, high = c->height;
  if (stretch < 100 && aspect > 1) wide = (int)lround(wide * stretch);
  else if (stretch < 100) high = (int)lround(high * stretch);
  bool turned = p->rotation % 180 != 0;
  p->width = turned ? high : wide;
  p->height = turned ? wide : high;
}

const char *picture_field_order(const AVStream *stream) {
  switch (stream->codecpar->field_order) {
  case AV_FIELD_PROGRESSIVE: return "progressive";
  case AV_FIELD_TT: return "tt";
  case AV_FIELD_BB: return "bb";
  case AV_FIELD_TB: return "tb";
  case AV_FIELD_BT: return "bt";
  default: return NULL;
  }
}

bool picture_is_interlaced(const AVStream *stream) {
  enum AVFieldOrder order = stream->codecpar->field_order;
  return order == AV_FIELD_TT || order == AV_FIELD_BB || order == AV_FIELD_TB || order == AV_FIELD_BT;
}
