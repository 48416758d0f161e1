/* sound.c - timestamps of sound. */
#include "media/sound.h"

#include <libavutil/channel_layout.h>
#include <libavutil/mathematics.h>

void sound_path_init(struct sound_path *p, AVRational in_base, AVRational out_base) {
  p->in_base = in_base;
  p->out_base = out_base;
  p->next = AV_NOPTS_VALUE;
}

/* How far a timestamp may be off the count of samples before it is believed: two ticks of the container, at least 10
 * ms. */
static int64_t tolerance(const struct sound_path *p) {
  return FFMAX(av_rescale_q(2, p->in_base, p->out_base), p->out_base.den / p->out_base.num / 100);
}

bool sound_path_stamp(struct sound_path *p, AVFrame *f) {
  if (f->nb_samples <= 0 || f->sample_rate <= 0 || f->ch_layout.nb_channels <= 0) return false;
  int64_t length = av_rescale_q(f->nb_samples, (AVRational){1, f->sample_rate}, p->out_base);
  int64_t stamp = f->best_effort_timestamp != AV_NOPTS_VALUE ? f->best_effort_timestamp : f->pts;
  int64_t at = stamp == AV_NOPTS_VALUE ? AV_NOPTS_VALUE : av_rescale_q(stamp, p->in_base, p->out_base);
  if (at == AV_NOPTS_VALUE) at = p->next == AV_NOPTS_VALUE ? 0 : p->next;
  if (p->next != AV_NOPTS_VALUE) {
    /* a tenth of a second of overlap is jitter to be absorbed; more than that is sound delivered twice */
    if (at + p->out_base.den / p->out_base.num / 10 < p->next) return false;
    if (at < p->next || at - p->next <= tolerance(p)) at = p->next;
  }
  if (at < 0) {
    if (at + length <= 0) return false;
    at = 0;
  }
  if (f->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC && f->ch_layout.nb_channels <= 8)
    av_channel_layout_default(&f->ch_layout, f->ch_layout.nb_channels);
  f->pts = at;
  f->pkt_duration = length;
  f->time_base = p->out_base;
  p->next = at + length;
  return true;
}

int64_t sound_path_end_us(const struct sound_path *p) {
  return p->next == AV_NOPTS_VALUE ? 0 : av_rescale_q(p->next, p->out_base, (AVRational){1, 1000000});
}
