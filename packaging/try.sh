#!/bin/sh
# try.sh - from a fresh Debian 12 to a published video in one command:
#
#   sh packaging/try.sh [CLIP]
#
# Installs what is missing (as root), builds into build/, takes a real clip out of a Debian package unless you name one,
# and runs pipelines/vod.yaml on it. Everything else it makes lies in out/try. Stop it at any moment and run it again:
# what was finished stays finished.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
out=${STAGEMILL_TRY:-$root/out/try}
log=$out/try.log
if ! { mkdir -p "$out" && true >"$log"; } 2>/dev/null; then
  echo "$out cannot be written: run this as its owner, or name another folder in STAGEMILL_TRY" >&2
  exit 1
fi
. "$root/packaging/packages.sh"

begun=$(date +%s)
step_begun=$begun

# step WORDS...: says what is being done now; done_step says how long it took.
step() {
  step_begun=$(date +%s)
  printf '%-58s' "$*"
}
done_step() { printf '%4d s\n' $(($(date +%s) - step_begun)); }
failed() {
  printf 'failed\n\n'
  tail -n 30 "$log"
  printf '\n%s\nThe whole log: %s\n' "$1" "$log"
  exit 1
}

# The shell waits for what is running to end; stagemill brings its stages to a stop first.
again="Interrupted. Run the same command again: what was finished is kept, the rest goes on."
trap 'printf "\n%s\n" "$again"; exit 3' INT TERM

clip=${1:-}
if [ -n "$clip" ]; then
  case $clip in /*) ;; *) clip=$PWD/$clip ;; esac
  [ -r "$clip" ] || { echo "$clip cannot be read" >&2; exit 2; }
fi

# shellcheck disable=SC2086
count=$(packages_missing $packages_build $packages_run | wc -w)
exec 3>&1
packages_fd=3
step "1. Debian packages ($count to install)"
# shellcheck disable=SC2086
packages_install $packages_build $packages_run >>"$log" 2>&1 || failed "The packages could not be installed."
exec 3>&-
done_step

step "2. build into $root/build"
{
  [ -f "$root/build/build.ninja" ] || cmake -G Ninja -S "$root" -B "$root/build" -DSTAGEMILL_TESTS=OFF
} >>"$log" 2>&1 || failed "The build could not be configured."
cmake --build "$root/build" -j "$(nproc)" >>"$log" 2>&1 || failed "The build failed."
done_step

if [ -z "$clip" ]; then
  step "3. a real clip (Debian package forensics-samples-files)"
  packages_clip "$out/clip" >>"$log" 2>&1 || failed "The clip could not be downloaded; name one of your own: try.sh CLIP"
  clip=$out/clip/movie-hello.mp4
  done_step
fi

published=$out/published
set -- "$root/build/bin/stagemill" run "$root/pipelines/vod.yaml" "$clip" -p "publish_to=$published" -o "$out/vod"
printf '\n$ stagemill run pipelines/vod.yaml %s -p publish_to=%s -o %s\n' "$clip" "$published" "$out/vod"
"$@"
code=$?
echo
case $code in
0) ;;
3 | 137 | 143) echo "$again"; exit 3 ;;
*) echo "stagemill ended with code $code."; exit "$code" ;;
esac

playlist=$(find "$published" -name master.m3u8 -printf '%T@ %p\n' 2>/dev/null | sort -n | tail -n 1 | cut -d' ' -f2-)
poster=$(find "$(dirname "$(dirname "$playlist")")" -name '*.jpg' 2>/dev/null | head -n 1)
echo "Published:  $playlist"
[ -z "$poster" ] || echo "Poster:     $poster"
echo "What ran:   $out/vod/job.json   (artifacts, results, attempts)"
echo "Watch it:   ffplay $playlist   (or mpv, vlc, or any HLS player once the folder is on a web server)"
echo "Install it: cmake --install $root/build   (to /usr/local; without that the program is $1)"
printf 'Whole time: %d s\n' $(($(date +%s) - begun))
