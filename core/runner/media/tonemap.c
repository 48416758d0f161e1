/* tonemap.c - one filter graph per input format. Light is made linear, mapped (Hable's curve keeps detail in the dark),
 * then given BT.709 transfer, primaries and matrix. A source that leaves its matrix or primaries untagged is taken as
 * BT.2020, which is what PQ and HLG are delivered in. */
#include "media/tonemap.h"

#include <libavfilter/avfilter.h>
#include <libavutil/pixdesc.h>
#include <stdio.h>

#include "base/mem.h"
#include "media/picture_graph.h"

struct tonemap {
  struct picture_graph graph;
  unsigned threads;
  int transfer, primaries, matrix, range;
};

bool tonemap_needed(int color_transfer) {
  return color_transfer == AVCOL_TRC_SMPTE2084 || color_transfer == AVCOL_TRC_ARIB_STD_B67;
}

struct tonemap *tonemap_create(unsigned threads) {
  struct tonemap *t = mem_alloc(sizeof *t);
  t->threads = threads;
  return t;
}

void tonemap_destroy(struct tonemap **address) {
  if (!*address) return;
  picture_graph_close(&(*address)->graph);
  free(*address);
  *address = NULL;
}

static int graph_for(struct tonemap *t, const AVFrame *in) {
  char text[512];
  if (picture_graph_fits(&t->graph, in) && t->transfer == (int)in->color_trc &&
      t->primaries == (int)in->color_primaries && t->matrix == (int)in->colorspace && t->range == (int)in->color_range)
    return 0;
  t->transfer = in->color_trc;
  t->primaries = in->color_primaries;
  t->matrix = in->colorspace;
  t->range = in->color_range;
  const char *matrix = in->colorspace == AVCOL_SPC_BT709       ? "709"
                       : in->colorspace == AVCOL_SPC_BT2020_CL ? "2020_cl"
                                                               : "2020_ncl";
  snprintf(text, sizeof text,
           "zscale=tin=%s:min=%s:pin=%s:rin=%s:t=linear:npl=100,format=gbrpf32le,zscale=p=709,"
           "tonemap=tonemap=hable:desat=0,zscale=t=709:m=709:p=709:r=limited,format=yuv420p",
           in->color_trc == AVCOL_TRC_SMPTE2084 ? "smpte2084" : "arib-std-b67", matrix,
           in->color_primaries == AVCOL_PRI_BT709 ? "709" : "2020",
           in->color_range == AVCOL_RANGE_JPEG ? "full" : "limited");
  return picture_graph_open(&t->graph, in, (AVRational){1, 1000000}, text, t->threads);
}

int tonemap_frame(struct tonemap *t, AVFrame *in, AVFrame **out) {
  *out = NULL;
  if (!tonemap_needed(in->color_trc)) {
    *out = av_frame_clone(in);
    return *out ? 0 : AVERROR(ENOMEM);
  }
  int e = graph_for(t, in);
  if (e >= 0) e = picture_graph_push(&t->graph, in);
  if (e >= 0) e = picture_graph_pull(&t->graph, out);
  if (e < 0) return e;
  AVFrame *made = *out;
  made->pts = in->pts;
  made->pkt_duration = in->pkt_duration;
  made->color_range = AVCOL_RANGE_MPEG;
  made->color_primaries = AVCOL_PRI_BT709;
  made->color_trc = AVCOL_TRC_BT709;
  made->colorspace = AVCOL_SPC_BT709;
  made->sample_aspect_ratio = (AVRational){1, 1};
  av_frame_remove_side_data(made, AV_FRAME_DATA_MASTERING_DISPLAY_METADATA);
  av_frame_remove_side_data(made, AV_FRAME_DATA_CONTENT_LIGHT_LEVEL);
  av_frame_remove_side_data(made, AV_FRAME_DATA_DYNAMIC_HDR_PLUS);
  return 0;
}
