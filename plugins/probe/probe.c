/* probe.c - task stage `probe`: what is in the job's input. */
#include <stagemill/stage.h>

#include <errno.h>
#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavutil/pixdesc.h>

#include "boxes.h"
#include "describe.h"
#include "picture.h"

static const sm_param params[] = {SM_PARAMS_END};

static const sm_port inputs[] = {
  SM_PORT("source", SM_PORT_ARTIFACT, SM_PORT_SOURCE, "video/*|audio/*|*/*", "the media to look at: the job's input"),
  SM_PORTS_END};

static const sm_port outputs[] = {
  SM_OUTPUT("report", "application/json", "probe.json: container, every stream, colour, HDR and timing"), SM_PORTS_END};

#define NULLABLE_ROW(key, type, unit, summary) SM_RESULT(key, type, SM_AT_END, SM_RESULT_NULLABLE, unit, summary)

static const sm_result results[] = {
  NULLABLE_ROW("duration", SM_RESULT_TYPE_DURATION, "s", "length; null when neither header nor packets tell"),
  SM_RESULT_TEXT("duration_method", SM_AT_END, "how it was found: header, timestamps, scan or unknown"),
  NULLABLE_ROW("start", SM_RESULT_TYPE_DURATION, "s", "time stamp of the beginning"),
  NULLABLE_ROW("bitrate", SM_RESULT_TYPE_INT, "bit/s", "of the whole file"),
  SM_RESULT_INT("size_bytes", SM_AT_END, "bytes", "size of the file"),
  SM_RESULT_TEXT("container", SM_AT_END, "libavformat's name of the container"),
  SM_RESULT_INT("streams", SM_AT_END, NULL, "number of streams of any kind"),
  SM_RESULT_BOOL("truncated", SM_AT_END, "the file ends before its own index says"),
  SM_RESULT_BOOL("has_video", SM_AT_END, "there is a video stream (cover art is none)"),
  SM_RESULT_BOOL("has_audio", SM_AT_END, "there is an audio stream"),
  SM_RESULT_BOOL("has_cover", SM_AT_END, "there is cover art"),
  NULLABLE_ROW("width", SM_RESULT_TYPE_INT, "px", "as shown: turned upright, square pixels"),
  NULLABLE_ROW("height", SM_RESULT_TYPE_INT, "px", "as shown: turned upright, square pixels"),
  NULLABLE_ROW("rotation", SM_RESULT_TYPE_INT, "degrees", "clockwise turn that the file asks for: 0, 90, 180, 270"),
  SM_RESULT_BOOL("is_portrait", SM_AT_END, "shown higher than wide"),
  NULLABLE_ROW("video_codec", SM_RESULT_TYPE_TEXT, NULL, "\"h264\", \"hevc\", ..."),
  NULLABLE_ROW("pixel_format", SM_RESULT_TYPE_TEXT, NULL, "\"yuv420p\", ..."),
  NULLABLE_ROW("frame_rate", SM_RESULT_TYPE_NUMBER, "1/s", "average frames a second"),
  NULLABLE_ROW("is_vfr", SM_RESULT_TYPE_BOOL, NULL, "frames are not evenly spaced; null when packets do not tell"),
  SM_RESULT_BOOL("interlaced", SM_AT_END, "pictures are made of two fields"),
  SM_RESULT_BOOL("is_hdr", SM_AT_END, "high dynamic range"),
  NULLABLE_ROW("hdr_format", SM_RESULT_TYPE_TEXT, NULL, "hdr10, hlg, pq or dolby-vision"),
  NULLABLE_ROW("audio_codec", SM_RESULT_TYPE_TEXT, NULL, "\"aac\", ... of the default track"),
  NULLABLE_ROW("audio_channels", SM_RESULT_TYPE_INT, NULL, "channels of the default track"),
  NULLABLE_ROW("sample_rate", SM_RESULT_TYPE_INT, "Hz", "of the default track"),
  NULLABLE_ROW("language", SM_RESULT_TYPE_TEXT, NULL, "language of the default audio track, ISO 639-2"),
  SM_RESULTS_END};

static int best_stream(AVFormatContext *format, enum AVMediaType kind) {
  int best = av_find_best_stream(format, kind, -1, -1, NULL, 0);
  if (best >= 0 && !(format->streams[best]->disposition & AV_DISPOSITION_ATTACHED_PIC)) return best;
  for (unsigned i = 0; i < format->nb_streams; i++)
    if (format->streams[i]->codecpar->codec_type == kind &&
        !(format->streams[i]->disposition & AV_DISPOSITION_ATTACHED_PIC))
      return (int)i;
  return -1;
}

static bool has_cover(const AVFormatContext *format) {
  for (unsigned i = 0; i < format->nb_streams; i++)
    if (format->streams[i]->disposition & AV_DISPOSITION_ATTACHED_PIC) return true;
  return false;
}

static void result_positive(sm_task *task, const char *key, int64_t n) {
  if (n > 0) sm_result_int(task, key, n);
  else sm_result_null(task, key);
}

static void container_results(sm_task *task, const struct findings *f) {
  const AVFormatContext *format = f->source->format;
  if (f->timing.duration_us > 0) sm_result_duration(task, "duration", f->timing.duration_us);
  else sm_result_null(task, "duration");
  if (format->start_time != AV_NOPTS_VALUE) sm_result_duration(task, "start", format->start_time);
  else sm_result_null(task, "start");
  sm_result_text(task, "duration_method", duration_method_word(f->timing.method));
  result_positive(task, "bitrate", describe_bitrate(f));
  sm_result_int(task, "size_bytes", f->source->size_bytes);
  sm_result_text(task, "container", format->iformat->name);
  sm_result_int(task, "streams", format->nb_streams);
  sm_result_bool(task, "truncated", f->cut_short);
  sm_result_bool(task, "has_video", f->video >= 0);
  sm_result_bool(task, "has_audio", f->audio >= 0);
  sm_result_bool(task, "has_cover", has_cover(format));
}

static void frame_rate_result(sm_task *task, const AVStream *stream) {
  AVRational rate = stream->avg_frame_rate.num > 0 ? stream->avg_frame_rate : stream->r_frame_rate;
  if (rate.num > 0 && rate.den > 0) sm_result_number(task, "frame_rate", av_q2d(rate));
  else sm_result_null(task, "frame_rate");
}

static void video_results(sm_task *task, const struct findings *f) {
  AVStream *stream = f->source->format->streams[f->video];
  struct picture picture;
  picture_of(f->source->format, stream, &picture);
  result_positive(task, "width", picture.width);
  result_positive(task, "height", picture.height);
  sm_result_int(task, "rotation", picture.rotation);
  sm_result_bool(task, "is_portrait", picture.height > picture.width);
  sm_result_text(task, "video_codec", avcodec_get_name(stream->codecpar->codec_id));
  sm_result_text(task, "pixel_format", av_get_pix_fmt_name(stream->codecpar->format));
  frame_rate_result(task, stream);
  if (f->timing.spacing != SPACING_UNKNOWN) sm_result_bool(task, "is_vfr", f->timing.spacing == SPACING_UNEVEN);
  else sm_result_null(task, "is_vfr");
  sm_result_bool(task, "interlaced", picture_is_interlaced(stream));
  sm_result_bool(task, "is_hdr", f->hdr.format != NULL);
  sm_result_text(task, "hdr_format", f->hdr.format);
}

static void no_video_results(sm_task *task) {
  static const char *const nulls[] = {"width",        "height",     "rotation", "video_codec",
                                      "pixel_format", "frame_rate", "is_vfr",   "hdr_format"};
  static const char *const falses[] = {"is_portrait", "interlaced", "is_hdr"};
  for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++) sm_result_null(task, nulls[i]);
  for (size_t i = 0; i < sizeof falses / sizeof *falses; i++) sm_result_bool(task, falses[i], false);
}

static void audio_results(sm_task *task, const struct findings *f) {
  const AVStream *stream = f->audio >= 0 ? f->source->format->streams[f->audio] : NULL;
  const AVDictionaryEntry *language = stream ? av_dict_get(stream->metadata, "language", NULL, 0) : NULL;
  sm_result_text(task, "audio_codec", stream ? avcodec_get_name(stream->codecpar->codec_id) : NULL);
  result_positive(task, "audio_channels", stream ? stream->codecpar->ch_layout.nb_channels : 0);
  result_positive(task, "sample_rate", stream ? stream->codecpar->sample_rate : 0);
  sm_result_text(task, "language", language ? language->value : NULL);
}

static sm_status write_report(sm_task *task, const struct findings *f) {
  const char *path = sm_output_path(task, "report", "probe.json");
  json_t *report = describe(f);
  int rc = path && report ? json_dump_file(report, path, JSON_INDENT(2) | JSON_REAL_PRECISION(10)) : -1;
  json_decref(report);
  if (rc != 0) return sm_fail(task, SM_RETRY, strerror(errno), "probe.json could not be written: %s", strerror(errno));
  return sm_output(task, "report", "probe.json", "application/json", NULL);
}

static sm_status inspect(sm_task *task, struct findings *f) {
  struct boxes boxes;
  AVFormatContext *format = f->source->format;
  f->video = best_stream(format, AVMEDIA_TYPE_VIDEO);
  f->audio = best_stream(format, AVMEDIA_TYPE_AUDIO);
  if (f->video < 0 && f->audio < 0 && !has_cover(format))
    return sm_fail(task, SM_FAIL, format->iformat->name,
                   "'%s' has neither video nor audio: check that the right file was given", f->source->name);
  boxes_scan(f->source->descriptor, f->source->size_bytes, &boxes);
  f->cut_short = boxes.is_iso && boxes.cut_short;
  if (f->cut_short) sm_log(task, SM_LOG_WARNING, "'%s' is cut short: its last frames are missing", f->source->name);
  sm_progress(task, 0.3, NULL);
  timing_measure(f->source, f->video, &f->timing);
  sm_progress(task, 0.8, NULL);
  if (!f->source->cancelled) hdr_inspect(f->source, f->video, &f->hdr);
  return f->source->cancelled ? SM_CANCELLED : SM_OK;
}

static sm_status probe_run(sm_task *task) {
  struct source source;
  struct findings findings = {.source = &source};
  sm_status status = source_open(&source, task, "source");
  if (status == SM_OK) status = inspect(task, &findings);
  if (status == SM_OK) {
    container_results(task, &findings);
    if (findings.video >= 0) video_results(task, &findings);
    else no_video_results(task);
    audio_results(task, &findings);
    status = write_report(task, &findings);
  }
  source_close(&source);
  return status;
}

static const sm_stage stages[] = {SM_TASK_STAGE("probe", "container, streams, colour and timing of a media file",
                                                params, inputs, outputs, results, probe_run),
                                  SM_STAGES_END};
SM_PLUGIN("org.stagemill.probe", "0.1.0", "MIT", stages);
