#!/bin/sh
# Fetches real clips from a Debian package without installing it (forensics-samples-files, CC-BY-SA-4.0).
# usage: clips.sh FOLDER
#   phone.mp4   a phone's 1080p H.264/AAC, uneven frame rate, 1.6 s
#   hello.mp4   720p H.264/AAC, 8.3 s
# Files that exist are kept, so a second call costs nothing. Needs apt-get with package lists, and dpkg-deb.
set -eu
out=${1:?usage: clips.sh FOLDER}
mkdir -p "$out"
out=$(cd "$out" && pwd)
[ -s "$out/phone.mp4" ] && [ -s "$out/hello.mp4" ] && exit 0

scratch=$(mktemp -d "$out/.clips-XXXXXX")
trap 'rm -rf "$scratch"' EXIT INT TERM
# apt reads as its own user where it can
chmod 755 "$scratch"
cd "$scratch"
apt-get download -qq forensics-samples-files 2>apt.log || {
  cat apt.log >&2
  echo "clips.sh: cannot download forensics-samples-files: run 'apt-get update' first and check the network" >&2
  exit 1
}
samples=./usr/share/forensics-samples/original-files
dpkg-deb --fsys-tarfile forensics-samples-files_*.deb |
  tar -x "$samples/movie1/VID_20191220_170832.mp4" "$samples/movie2/movie-hello.mp4"
mv "$samples/movie1/VID_20191220_170832.mp4" "$out/phone.mp4"
mv "$samples/movie2/movie-hello.mp4" "$out/hello.mp4"
