#!/bin/sh
# One command of somebody who knows ffmpeg well: one decode, one encode a rendition, one AAC encode, the MP4 from the
# packets of the
# first rendition; keyframes forced by time; the same encoder settings as the pipeline.
# usage: expert.sh CLIP LOGO OUT SECOND-OF-THE-POSTER LOGO-WIDTH MARGIN
set -eu
clip=$1 logo=$2 out=$3 at=$4 size=$5 margin=$6
mkdir -p "$out"
cd "$out"
hls="f=hls:hls_time=6:hls_playlist_type=vod:hls_flags=independent_segments"
ffmpeg -nostdin -v error -y -i "$clip" -i "$logo" -filter_complex "[0:v]format=yuv420p,split=2[main][still];\
[still]select='gte(t\,$at)',scale=640:-2[poster];[1:v]format=rgba,colorchannelmixer=aa=0.8,scale=$size:-1[l];\
[main][l]overlay=W-w-$margin:$margin,format=yuv420p,split=2[top][half];[half]scale=854:480[low]" \
  -map '[top]' -map '[low]' -map 0:a -c:v libx264 -preset fast -crf 23 -sc_threshold 0 \
  -force_key_frames 'expr:gte(t,n_forced*2)' -g 100000 \
  -maxrate:v:0 6500k -bufsize:v:0 9750k -maxrate:v:1 1930k -bufsize:v:1 2895k \
  -c:a aac -ac 2 -b:a 128k -flags +global_header \
  -f tee "[select=\'v:0,a\':$hls:hls_segment_filename=clip_1080p_%03d.ts]clip_1080p.m3u8|\
[select=\'v:1,a\':$hls:hls_segment_filename=clip_480p_%03d.ts]clip_480p.m3u8|\
[select=\'v:0,a\':f=mp4:movflags=+faststart]branded.mp4" \
  -map '[poster]' -frames:v 1 -q:v 4 poster.jpg
