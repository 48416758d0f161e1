#!/bin/sh
# What people type today: a thumbnail, a watermarked MP4, then one ffmpeg process for each rendition, both at once.
# usage: separate.sh CLIP LOGO OUT SECOND-OF-THE-POSTER LOGO-WIDTH MARGIN
set -eu
clip=$1 logo=$2 out=$3 at=$4 size=$5 margin=$6
mkdir -p "$out"
ff() { ffmpeg -nostdin -v error -y "$@"; }
ff -ss "$at" -i "$clip" -frames:v 1 -vf scale=640:-2 -q:v 4 "$out/poster.jpg"
ff -i "$clip" -i "$logo" -filter_complex \
  "[1:v]format=rgba,colorchannelmixer=aa=0.8,scale=$size:-1[l];\
[0:v][l]overlay=W-w-$margin:$margin,format=yuv420p[v]" \
  -map '[v]' -map 0:a -c:v libx264 -preset fast -crf 23 \
  -c:a aac -ac 2 -b:a 128k -movflags +faststart "$out/branded.mp4"
rendition() { # NAME SCALE MAXRATE BUFSIZE
  ff -i "$out/branded.mp4" -vf "$2" -c:v libx264 -preset fast -crf 23 -maxrate "$3" -bufsize "$4" -sc_threshold 0 \
    -force_key_frames 'expr:gte(t,n_forced*2)' -g 100000 -c:a aac -ac 2 -b:a 128k \
    -f hls -hls_time 6 -hls_playlist_type vod \
    -hls_flags independent_segments -hls_segment_filename "$out/clip_$1_%03d.ts" "$out/clip_$1.m3u8"
}
rendition 1080p null 6500k 9750k & one=$!
rendition 480p scale=854:480 1930k 2895k
wait $one
