/* look.c - prints what a sink would be given of a file: `pass_look FILE [frames at seconds...]`. For people, not a
 * test. */
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "media/module.h"

int main(int argc, char **argv) {
  static struct lab lab;
  int64_t times[64];
  if (argc < 2) return 2;
  lab_init(&lab);
  lab.path = argv[1];
  lab.unit.input_name = argv[1];
  struct lab_stage *s = lab_sink(&lab, "sink", -1, argc > 2 ? -2 : -1);
  for (int i = 2; i < argc && i < 66; i++) times[s->time_count++] = (int64_t)(atof(argv[i]) * 1e6);
  if (s->time_count) s->times_us = times;
  if (getenv("LOOK_NEAREST")) s->time_flags = SM_NEAREST_KEYFRAME;
  s->use_wants = getenv("LOOK_SDR") != NULL;
  s->want.want_sdr = s->use_wants;
  lab_ready(&lab);
  struct value *stats = value_map();
  sm_status status = media_run(&lab.c, stats);
  struct buf text = {0};
  value_json(&text, stats, VALUE_JSON_COMPACT);
  printf("%s: run %d verdict %d duration %.3f %s\n", argv[1], status, s->verdict, (double)s->source.duration_us / 1e6,
         s->blame);
  printf("  %s\n", buf_string(&text));
  for (uint32_t i = 0; i < s->offered_count; i++) {
    const struct seen *n = &s->seen[i];
    const sm_stream *d = &s->offered[i];
    int seconds = 0;
    for (int k = 0; k < 256; k++) seconds += n->seconds[k];
    printf("  %u %s %dx%d rot %d fps %d/%d vfr %u trc %d start %.3f dur %.3f %s%s| frames %llu %.3f..%.3f end %.3f "
           "%dx%d fmt %d trc %d rate %d ch %d samples %llu floors %llu seconds %d%s%s%s\n",
           d->kind, d->codec, d->width, d->height, d->rotation, d->frame_rate.num, d->frame_rate.den, d->is_vfr,
           d->color_transfer, (double)d->start_us / 1e6, (double)d->duration_us / 1e6, d->is_default ? "default " : "",
           d->language, (unsigned long long)n->frames, (double)n->first_us / 1e6, (double)n->last_us / 1e6,
           (double)n->end_us / 1e6, n->width, n->height, n->format, n->transfer, n->rate, n->channels,
           (unsigned long long)n->samples, (unsigned long long)n->floors, seconds, n->disorder ? " DISORDER" : "",
           n->odd_size ? " ODD" : "", n->flushed ? "" : " unflushed");
    for (uint64_t k = 0; s->times_us && k < n->frames && k < LAB_SHOTS; k++)
      printf("   at %.3f", (double)n->shots_us[k] / 1e6);
  }
  puts(s->merge_disorder ? " MERGE DISORDER" : "");
  buf_free(&text);
  value_free(&stats);
  lab_free(&lab);
  return status;
}
