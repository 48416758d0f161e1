/* text.c - renders a text once, by libavfilter's drawtext over a transparent canvas.
 *
 * The text never passes through a filter-graph string: it is set as an option value, and drawtext's own expansion is
 * off, so that nothing in it can be taken for an option or an expression. The font is a file that was seen to load. */
#define _GNU_SOURCE /* dladdr */
#include "mark.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ft2build.h>
#include FT_FREETYPE_H
#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavutil/avutil.h>
#include <libavutil/frame.h>
#include <libavutil/mem.h>

enum { TEXT_BYTES_MAX = 4000, LINES_MAX = 50 };

const char *mark_font_path(void) {
  static char path[PATH_MAX];
  Dl_info info;
  char own[PATH_MAX];
  if (*path) return path;
  /* PREFIX/lib/stagemill/plugins/watermark.so and PREFIX/share/stagemill/fonts, in the build tree as well */
  if (!dladdr((void *)&mark_font_path, &info) || !realpath(info.dli_fname, own)) return "";
  char *slash = strrchr(own, '/');
  if (slash) *slash = 0;
  if (snprintf(path, sizeof path, "%s/../../../share/stagemill/fonts/DejaVuSans.ttf", own) >= (int)sizeof path ||
      access(path, R_OK) != 0)
    *path = 0;
  return path;
}

struct canvas {
  int width, height, border;
};

static bool canvas_size(const char *text, int size, struct canvas *canvas) {
  long longest = 0, lines = 1, line = 0;
  for (const char *c = text; *c; c++) {
    if (*c == '\n') lines++, line = 0;
    else if ((*c & 0xc0) != 0x80) line += *c == '\t' ? 8 : 1;
    if (line > longest) longest = line;
  }
  /* No glyph of a Latin font is wider than 1.5 em; what would not fit is found by looking at the edge. */
  long width = (long)(1.5 * size * (double)(longest + 1)), height = (long)size * 2 * (lines + 1);
  if (lines > LINES_MAX || height > MARK_SIDE_MAX) return false;
  canvas->border = size / 2 + 1;
  canvas->width = (int)(width < MARK_SIDE_MAX ? width : MARK_SIDE_MAX) + 2 * canvas->border;
  canvas->height = (int)height + 2 * canvas->border;
  return (long)canvas->width * canvas->height <= MARK_PIXELS_MAX;
}

static AVFilterContext *add(AVFilterGraph *graph, const char *kind, AVDictionary **options, AVFilterContext *after) {
  const AVFilter *filter = avfilter_get_by_name(kind);
  AVFilterContext *context = filter ? avfilter_graph_alloc_filter(graph, filter, kind) : NULL;
  if (context && avfilter_init_dict(context, options) < 0) context = NULL;
  if (context && after && avfilter_link(after, 0, context, 0) < 0) context = NULL;
  if (options) av_dict_free(options);
  return context;
}

static AVFilterContext *graph_build(AVFilterGraph *graph, const struct canvas *canvas, const char *text,
                                    const char *font, int size, const char *color) {
  AVDictionary *base = NULL, *format = NULL, *draw = NULL, *last = NULL;
  char extent[32], border[16];
  snprintf(extent, sizeof extent, "%dx%d", canvas->width, canvas->height);
  snprintf(border, sizeof border, "%d", canvas->border);
  av_dict_set(&base, "color", "black@0", 0);
  av_dict_set(&base, "size", extent, 0);
  av_dict_set(&format, "pix_fmts", "rgba", 0);
  av_dict_set(&last, "pix_fmts", "rgba", 0);
  av_dict_set(&draw, "fontfile", font, 0);
  av_dict_set(&draw, "text", text, 0);
  av_dict_set(&draw, "expansion", "none", 0);
  av_dict_set_int(&draw, "fontsize", size, 0);
  av_dict_set(&draw, "fontcolor", color, 0);
  av_dict_set(&draw, "x", border, 0);
  av_dict_set(&draw, "y", border, 0);
  AVFilterContext *end = add(graph, "color", &base, NULL);
  end = end ? add(graph, "format", &format, end) : NULL;
  end = end ? add(graph, "drawtext", &draw, end) : NULL;
  end = end ? add(graph, "format", &last, end) : NULL;
  end = end ? add(graph, "buffersink", NULL, end) : NULL;
  av_dict_free(&format), av_dict_free(&draw), av_dict_free(&last);
  return end && avfilter_graph_config(graph, NULL) >= 0 ? end : NULL;
}

struct bounds {
  int left, top, right, bottom; /* right and bottom are one past the last pixel */
};

static struct bounds ink(const AVFrame *frame) {
  struct bounds b = {frame->width, frame->height, 0, 0};
  for (int y = 0; y < frame->height; y++)
    for (int x = 0; x < frame->width; x++)
      if (frame->data[0][(ptrdiff_t)y * frame->linesize[0] + 4 * x + 3]) {
        if (x < b.left) b.left = x;
        if (x >= b.right) b.right = x + 1;
        if (y < b.top) b.top = y;
        b.bottom = y + 1;
      }
  return b;
}

/* drawtext mixed the colour with the transparent black below: divide it out again. */
static void copy_ink(const AVFrame *frame, const struct bounds *b, struct mark_image *image) {
  for (int y = 0; y < image->height; y++)
    for (int x = 0; x < image->width; x++) {
      const uint8_t *p = frame->data[0] + (ptrdiff_t)(b->top + y) * frame->linesize[0] + 4 * (ptrdiff_t)(b->left + x);
      uint8_t *to = image->rgba + 4 * ((size_t)y * (size_t)image->width + (size_t)x);
      for (int k = 0; k < 3; k++) {
        unsigned full = p[3] ? (p[k] * 255u + p[3] / 2u) / p[3] : 0;
        to[k] = (uint8_t)(full > 255 ? 255 : full);
      }
      to[3] = p[3];
    }
}

static sm_status cut_out(const AVFrame *frame, sm_task *task, struct mark_image *image) {
  struct bounds b = ink(frame);
  if (b.right <= b.left)
    return sm_fail(task, SM_FAIL, NULL,
                   "the watermark text draws nothing: it has only blanks, or the font lacks its letters");
  if (b.right == frame->width || b.bottom == frame->height)
    return sm_fail(task, SM_FAIL, NULL,
                   "the watermark text is too long for its size: shorten it or break it into lines");
  image->width = b.right - b.left;
  image->height = b.bottom - b.top;
  image->rgba = av_malloc(4 * (size_t)image->width * (size_t)image->height);
  if (!image->rgba) return sm_fail(task, SM_RETRY, NULL, "no memory was left for the watermark text");
  copy_ink(frame, &b, image);
  return SM_OK;
}

static unsigned long next_letter(const char **text) {
  const unsigned char *p = (const unsigned char *)*text;
  unsigned long letter = *p++;
  int more = letter >= 0xf0 ? 3 : letter >= 0xe0 ? 2 : letter >= 0xc0 ? 1 : 0;
  if (more) letter &= 0x3fu >> more;
  for (; more && (*p & 0xc0) == 0x80; more--) letter = letter << 6 | (*p++ & 0x3f);
  *text = (const char *)p;
  return letter;
}

/* drawtext would take any other font that the system knows when this one does not load. */
static sm_status check_font(sm_task *task, const char *text, const char *font) {
  FT_Library library;
  FT_Face face;
  int lacking = 0;
  if (FT_Init_FreeType(&library)) return sm_fail(task, SM_RETRY, NULL, "no memory was left for the font");
  bool good = FT_New_Face(library, font, 0, &face) == 0;
  while (good && *text) {
    unsigned long letter = next_letter(&text);
    lacking += letter > 0x20 && FT_Get_Char_Index(face, letter) == 0;
  }
  FT_Done_FreeType(library); /* with its faces */
  if (!good)
    return sm_fail(task, SM_FAIL, font, "'%s' is no font that can be read: give a TrueType or OpenType file", font);
  if (lacking)
    sm_log(task, SM_LOG_WARNING,
           "%d letters of the watermark text are not in the font %s and come out as boxes: give `font`", lacking, font);
  return SM_OK;
}

static sm_status check_text(sm_task *task, const char *text, const char *font) {
  if (!*text) return sm_fail(task, SM_FAIL, NULL, "the watermark text is empty: write one, or give an image");
  if (strlen(text) > TEXT_BYTES_MAX)
    return sm_fail(task, SM_FAIL, NULL, "the watermark text has more than %d bytes: shorten it", TEXT_BYTES_MAX);
  if (!font || access(font, R_OK) != 0)
    return sm_fail(task, SM_FAIL, font, "the font '%s' cannot be read: install stagemill's fonts or give `font`",
                   font && *font ? font : "share/stagemill/fonts/DejaVuSans.ttf");
  return check_font(task, text, font);
}

sm_status mark_text_render(struct mark_image *image, sm_task *task, const char *text, const char *font, int size,
                           const char *color) {
  struct canvas canvas;
  *image = (struct mark_image){0};
  sm_status status = check_text(task, text, font);
  if (status != SM_OK) return status;
  if (!canvas_size(text, size, &canvas))
    return sm_fail(task, SM_FAIL, NULL, "the watermark text is too large: at most %d lines, or choose a smaller size",
                   LINES_MAX);
  AVFilterGraph *graph = avfilter_graph_alloc();
  AVFrame *frame = av_frame_alloc();
  if (graph) graph->nb_threads = 1;
  AVFilterContext *sink = graph && frame ? graph_build(graph, &canvas, text, font, size, color) : NULL;
  if (!sink || av_buffersink_get_frame(sink, frame) < 0)
    status =
      sm_fail(task, SM_FAIL, font, "the watermark text cannot be drawn with the font '%s' in colour '%s'", font, color);
  else status = cut_out(frame, task, image);
  av_frame_free(&frame);
  avfilter_graph_free(&graph);
  return status;
}
