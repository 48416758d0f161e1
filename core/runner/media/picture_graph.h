/* picture_graph.h - a linear libavfilter graph for pictures, rebuilt by its owner when the input format changes. */
#pragma once
#include <libavutil/frame.h>
#include <stdbool.h>

struct AVFilterGraph;
struct AVFilterContext;

struct picture_graph {
  struct AVFilterGraph *graph;
  struct AVFilterContext *source, *sink;
  int width, height, format;
  AVRational aspect, time_base; /* time_base: of the input and, rescaled, of the output */
};

/* The graph is open and was made for frames like this one. */
bool picture_graph_fits(const struct picture_graph *g, const AVFrame *frame);
/* description: "bwdif=...,transpose=clock". Closes an older one first. 0 or an AVERROR. */
int picture_graph_open(struct picture_graph *g, const AVFrame *like, AVRational time_base, const char *description,
                       unsigned threads);
void picture_graph_close(struct picture_graph *g);
int picture_graph_push(struct picture_graph *g, AVFrame *frame); /* borrows; NULL: end of stream */
/* AVERROR(EAGAIN): feed more; AVERROR_EOF. Timestamps are in g->time_base again. */
int picture_graph_pull(struct picture_graph *g, AVFrame **out);
