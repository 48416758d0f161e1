#!/bin/sh
# judge.sh MASTER.m3u8 [SOURCE] - every judge of an HLS stream we have. Exit 0: good; 1: the complaints, one a line;
# 2: cannot judge.
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { echo "usage: judge.sh MASTER.m3u8 [SOURCE]" >&2; exit 2; }
[ -r "$1" ] || { echo "judge: $1 cannot be read"; exit 1; }
command -v ffprobe >/dev/null || { echo "judge: install ffmpeg" >&2; exit 2; }
command -v node >/dev/null || { echo "judge: install nodejs" >&2; exit 2; }
[ -d "$here/../node_modules/hls-parser" ] || { echo "judge: run 'npm ci' in tests/" >&2; exit 2; }
verdict=0
node "$here/hls.mjs" "$1" || verdict=1
/usr/bin/python3 "$here/hls_media.py" "$@" || verdict=1
exit $verdict
