/* colour.c - on HDR video (`hdr: keep`) a mark's colours are moved into the video's own, its white at 203 cd/m2: the
 * level of graphics white in ITU-R BT.2408. */
#include "colour.h"

#include <math.h>

#include <libavutil/pixdesc.h>

static const double graphics_white = 203, hlg_peak = 1000;

void colour_of(struct colour *c, const AVFrame *frame) {
  const AVPixFmtDescriptor *format = av_pix_fmt_desc_get((enum AVPixelFormat)frame->format);
  enum AVColorSpace space = frame->colorspace;
  *c = (struct colour){.red = 0.299, .blue = 0.114, .depth = format->comp[0].depth};
  /* Untagged video is BT.709 from 720 lines on, as players assume. */
  if (space == AVCOL_SPC_UNSPECIFIED) space = frame->height >= 720 ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
  if (space == AVCOL_SPC_BT709) c->red = 0.2126, c->blue = 0.0722;
  if (space == AVCOL_SPC_BT2020_NCL || space == AVCOL_SPC_BT2020_CL) c->red = 0.2627, c->blue = 0.0593;
  if (space == AVCOL_SPC_SMPTE240M) c->red = 0.212, c->blue = 0.087;
  if (space == AVCOL_SPC_FCC) c->red = 0.30, c->blue = 0.11;
  switch (frame->format) {
  case AV_PIX_FMT_YUVJ420P:
  case AV_PIX_FMT_YUVJ422P:
  case AV_PIX_FMT_YUVJ440P:
  case AV_PIX_FMT_YUVJ444P:
  case AV_PIX_FMT_YUVJ411P: c->full = true; break;
  default: c->full = frame->color_range == AVCOL_RANGE_JPEG;
  }
  c->pq = frame->color_trc == AVCOL_TRC_SMPTE2084;
  c->hlg = frame->color_trc == AVCOL_TRC_ARIB_STD_B67;
}

/* IEC 61966-2-1 */
static double srgb_to_linear(double v) { return v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4); }

/* SMPTE ST 2084, v in cd/m2 */
static double to_pq(double v) {
  const double m1 = 2610.0 / 16384, m2 = 2523.0 / 32, c1 = 3424.0 / 4096, c2 = 2413.0 / 128, c3 = 2392.0 / 128;
  double p = pow(v / 10000, m1);
  return pow((c1 + c2 * p) / (1 + c3 * p), m2);
}

/* ITU-R BT.2100 table 5, v: scene light 0-1 */
static double to_hlg(double v) {
  return v <= 1.0 / 12 ? sqrt(3 * v) : 0.17883277 * log(12 * v - 0.28466892) + 0.55991073;
}

static void to_hdr(const struct colour *c, double rgb[3]) {
  /* ITU-R BT.2087: BT.709 primaries to BT.2020 */
  static const double wider[3][3] = {{0.6274, 0.3293, 0.0433}, {0.0691, 0.9195, 0.0114}, {0.0164, 0.0880, 0.8956}};
  double linear[3], wide[3];
  for (int i = 0; i < 3; i++) linear[i] = srgb_to_linear(rgb[i]);
  for (int i = 0; i < 3; i++) wide[i] = wider[i][0] * linear[0] + wider[i][1] * linear[1] + wider[i][2] * linear[2];
  if (c->pq) {
    for (int i = 0; i < 3; i++) rgb[i] = to_pq(wide[i] * graphics_white);
    return;
  }
  double luminance = (0.2627 * wide[0] + 0.6780 * wide[1] + 0.0593 * wide[2]) * graphics_white / hlg_peak;
  double undo = luminance > 0 ? pow(luminance, 1 / 1.2 - 1) : 0; /* the display's system gamma, BT.2100 */
  for (int i = 0; i < 3; i++) rgb[i] = to_hlg(fmin(1, wide[i] * graphics_white / hlg_peak * undo));
}

void colour_convert(const struct colour *c, const double rgb[3], double out[3]) {
  double v[3] = {rgb[0], rgb[1], rgb[2]}, unit = (double)(1 << (c->depth - 8)), top = (double)((1 << c->depth) - 1);
  if (c->pq || c->hlg) to_hdr(c, v);
  double luma = c->red * v[0] + (1 - c->red - c->blue) * v[1] + c->blue * v[2];
  double blue = (v[2] - luma) / (2 * (1 - c->blue)), red = (v[0] - luma) / (2 * (1 - c->red));
  out[0] = c->full ? luma * top : (16 + 219 * luma) * unit;
  out[1] = c->full ? blue * top + 128 * unit : (128 + 224 * blue) * unit;
  out[2] = c->full ? red * top + 128 * unit : (128 + 224 * red) * unit;
  for (int i = 0; i < 3; i++) out[i] = out[i] < 0 ? 0 : out[i] > top ? top : out[i];
}
