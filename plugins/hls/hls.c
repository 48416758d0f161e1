/* hls.c - the stage `hls`: an adaptive stream (H.264 and AAC, MPEG-TS or fragmented MP4) from the frames of a pass. */
#define SM_SEES_PACKETS
#include <stagemill/media.h>

#include "session.h"

static const sm_port inputs[] = {SM_VIDEO("video", SM_PORT_OPTIONAL, "pictures to encode"),
                                 SM_AUDIO("audio", SM_PORT_OPTIONAL, "sound; of several tracks the default one"),
                                 SM_PORTS_END};

static const sm_port outputs[] = {
    SM_OUTPUT("master", "application/vnd.apple.mpegurl", "the playlist to hand to a player"),
    SM_OUTPUTS("playlists", "application/vnd.apple.mpegurl", "one for each rendition"),
    SM_OUTPUTS("segments", "video/mp2t|video/mp4|audio/mp4", "segments, and initialisation sections of fragmented MP4"),
    SM_PORT("mp4", SM_PORT_ARTIFACT, SM_PORT_OPTIONAL, "video/mp4|audio/mp4",
            "the largest rendition as one file, with `mp4: true`"),
    SM_PORTS_END};

static const sm_result results[] = {
    SM_RESULT_INT("renditions", SM_AT_OPEN, NULL, "number of renditions"),
    SM_RESULT_LIST("rungs", SM_AT_OPEN, "each rendition's name and size"),
    SM_RESULT("width", SM_RESULT_TYPE_INT, SM_AT_OPEN, SM_RESULT_NULLABLE, "px", "of the largest rendition"),
    SM_RESULT("height", SM_RESULT_TYPE_INT, SM_AT_OPEN, SM_RESULT_NULLABLE, "px", "of the largest rendition"),
    SM_RESULT_TEXT("master", SM_AT_END, "the master playlist, below the output folder: STAGE/master.m3u8"),
    SM_RESULT_DURATION("duration", SM_AT_END, "sum of the segments of one rendition"),
    SM_RESULT_INT("segments", SM_AT_END, NULL, "segments of all renditions"),
    SM_RESULT_INT("bytes", SM_AT_END, "bytes", "size of all segments"),
    SM_RESULT_INT("bandwidth", SM_AT_END, "bit/s", "peak of the largest rendition (RFC 8216)"),
    SM_RESULT_INT("average_bandwidth", SM_AT_END, "bit/s", "average of the largest rendition"),
    SM_RESULT("frame_rate", SM_RESULT_TYPE_NUMBER, SM_AT_END, SM_RESULT_NULLABLE, "1/s", "highest frame rate"),
    SM_RESULTS_END};

static const sm_media_ops ops =
    SM_MEDIA_OPS(0, session_open, NULL, session_frame, session_nothing_before, session_flush, session_close);

static const sm_stage stages[] = {
    SM_MEDIA_STAGE("hls", "adaptive HTTP Live Streaming: a ladder of H.264/AAC renditions", SM_KIND_SINK,
                   settings_params, inputs, outputs, results, &ops, hls_plan),
    SM_STAGES_END};
SM_PLUGIN("org.stagemill.hls", "0.1.0", "MIT", stages);
