/* picture_graph.c - buffer, the filters, buffersink. */
#include "media/picture_graph.h"

#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/mathematics.h>
#include <stdio.h>

bool picture_graph_fits(const struct picture_graph *g, const AVFrame *f) {
  return g->graph && g->width == f->width && g->height == f->height && g->format == f->format &&
         g->aspect.num == f->sample_aspect_ratio.num && g->aspect.den == f->sample_aspect_ratio.den;
}

void picture_graph_close(struct picture_graph *g) {
  avfilter_graph_free(&g->graph);
  g->source = g->sink = NULL;
}

static int make_ends(struct picture_graph *g, const AVFrame *like) {
  char text[256];
  AVRational aspect = like->sample_aspect_ratio.num > 0 && like->sample_aspect_ratio.den > 0 ? like->sample_aspect_ratio
                                                                                             : (AVRational){1, 1};
  snprintf(text, sizeof text, "video_size=%dx%d:pix_fmt=%d:time_base=%d/%d:pixel_aspect=%d/%d", like->width,
           like->height, like->format, g->time_base.num, g->time_base.den, aspect.num, aspect.den);
  int e = avfilter_graph_create_filter(&g->source, avfilter_get_by_name("buffer"), "in", text, NULL, g->graph);
  if (e < 0) return e;
  return avfilter_graph_create_filter(&g->sink, avfilter_get_by_name("buffersink"), "out", NULL, NULL, g->graph);
}

static int make_chain(struct picture_graph *g, const char *description) {
  AVFilterInOut *outputs = avfilter_inout_alloc(), *inputs = avfilter_inout_alloc();
  int e = AVERROR(ENOMEM);
  if (outputs && inputs) {
    *outputs = (AVFilterInOut){av_strdup("in"), g->source, 0, NULL};
    *inputs = (AVFilterInOut){av_strdup("out"), g->sink, 0, NULL};
    e = avfilter_graph_parse_ptr(g->graph, description, &inputs, &outputs, NULL);
  }
  avfilter_inout_free(&inputs);
  avfilter_inout_free(&outputs);
  return e < 0 ? e : avfilter_graph_config(g->graph, NULL);
}

int picture_graph_open(struct picture_graph *g, const AVFrame *like, AVRational time_base, const char *description,
                       unsigned threads) {
  picture_graph_close(g);
  g->width = like->width;
  g->height = like->height;
  g->format = like->format;
  g->aspect = like->sample_aspect_ratio;
  g->time_base = time_base;
  if (!(g->graph = avfilter_graph_alloc())) return AVERROR(ENOMEM);
  g->graph->nb_threads = (int)(threads ? threads : 1);
  int e = make_ends(g, like);
  if (e >= 0) e = make_chain(g, description);
  if (e < 0) picture_graph_close(g);
  return e < 0 ? e : 0;
}

int picture_graph_push(struct picture_graph *g, AVFrame *frame) {
  return av_buffersrc_add_frame_flags(g->source, frame, frame ? AV_BUFFERSRC_FLAG_KEEP_REF : 0);
}

int picture_graph_pull(struct picture_graph *g, AVFrame **out) {
  AVFrame *frame = av_frame_alloc();
  if (!frame) return AVERROR(ENOMEM);
  int e = av_buffersink_get_frame(g->sink, frame);
  if (e < 0) {
    av_frame_free(&frame);
    return e;
  }
  AVRational from = av_buffersink_get_time_base(g->sink);
  if (frame->pts != AV_NOPTS_VALUE) frame->pts = av_rescale_q(frame->pts, from, g->time_base);
  *out = frame;
  return 0;
}
