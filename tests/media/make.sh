#!/bin/sh
# Synthesises awkward media files. usage: make.sh FOLDER
# Files that exist are kept, so a second call costs nothing. Needs the ffmpeg command line tool (tests only) and python3.
set -eu
out=${1:?usage: make.sh FOLDER}
mkdir -p "$out"
cd "$out"

ff() { ffmpeg -nostdin -v error -y "$@"; }
# make NAME ARGUMENTS...: ffmpeg writes NAME, unless it is there already.
make() {
  name=$1
  shift
  [ -s "$name" ] && return 0
  ff "$@" "part.$name" && mv "part.$name" "$name"
}
x264="-c:v libx264 -preset ultrafast -pix_fmt yuv420p"
small="-f lavfi -i testsrc2=s=160x90:r=15"

batch_plain() {
  make plain.mp4 -f lavfi -i testsrc2=s=320x180:r=25:d=4 -f lavfi -i sine=d=4 $x264 -bf 2 -g 25 -c:a aac -movflags +faststart
  make video_only.mp4 -f lavfi -i testsrc2=s=320x180:r=30:d=2 -an $x264
  make audio_only.mp3 -f lavfi -i sine=d=3 -c:a libmp3lame
  make audio51.m4a -f lavfi -i anoisesrc=d=2:c=pink -c:a aac -ac 6
  # turned by the display matrix alone
  make rot90.mp4 -i plain.mp4 -c copy -metadata:s:v:0 rotate=90
  make rot180.mp4 -i plain.mp4 -c copy -metadata:s:v:0 rotate=180
  make rot270.mp4 -i plain.mp4 -c copy -metadata:s:v:0 rotate=270
  make vfr.mp4 -i plain.mp4 -vf "select='not(mod(n,3))+lt(mod(n,10),4)'" -fps_mode vfr $x264 -c:a copy
  make odd444.mp4 -f lavfi -i testsrc=s=319x181:d=1 -c:v libx264 -preset ultrafast -pix_fmt yuv444p
  make odd.mkv -f lavfi -i testsrc=s=333x77:d=1,format=yuv444p -c:v ffv1
  make tenbit.mkv -f lavfi -i testsrc2=s=160x90:r=25:d=1,format=yuv420p10le -c:v ffv1
  make interlaced.mpg -f lavfi -i testsrc2=s=720x576:r=25:d=2 -vf setsar=64/45 -c:v mpeg2video -b:v 4M -flags +ildct+ilme -top 1
  make tall.mkv -f lavfi -i testsrc2=s=160x90:r=25:d=1,setsar=1/2 -c:v ffv1
  make avi.avi -f lavfi -i testsrc2=s=160x90:r=25:d=2 -f lavfi -i sine=d=2 -c:v mpeg4 -c:a mp2
  make full.mp4 -f lavfi -i testsrc2=s=160x90:r=25:d=1 -c:v libx264 -preset ultrafast -pix_fmt yuvj420p
  make rgb.mkv -f lavfi -i testsrc2=s=160x90:r=25:d=1,format=gbrp -c:v ffv1
  make raw.h264 -f lavfi -i testsrc2=s=160x90:r=25:d=2 $x264 -f h264
}

batch_hdr() {
  make hdr10.mp4 -f lavfi -i testsrc2=s=320x180:r=24:d=1 -vf format=yuv420p10le -c:v libx265 -preset ultrafast -tag:v hvc1 \
    -color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc -x265-params \
    "log-level=error:hdr10=1:repeat-headers=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400"
  make hlg.mkv -f lavfi -i testsrc2=s=320x180:r=24:d=1 -vf format=yuv420p10le -c:v libx265 -preset ultrafast \
    -color_primaries bt2020 -color_trc arib-std-b67 -colorspace bt2020nc -x265-params log-level=error
}

batch_sound() {
  [ -s cover.jpg ] || ff -f lavfi -i color=red:s=300x300 -frames:v 1 cover.jpg
  make cover.mp3 -i audio_only.mp3 -i cover.jpg -map 0 -map 1 -c copy -id3v2_version 3 -disposition:v attached_pic
  make tracks.mkv -f lavfi -i testsrc2=s=160x90:r=25:d=3 -f lavfi -i sine=f=300:d=3 -f lavfi -i sine=f=600:d=3:r=48000 -f lavfi -i sine=f=900:d=2 \
    -map 0 -map 1 -map 2 -map 3 $x264 -c:a aac -metadata:s:a:0 language=eng -metadata:s:a:1 language=deu -disposition:a:1 default -disposition:a:0 0
  make late20.mp4 $small:d=26 -itsoffset 20 -f lavfi -i sine=d=6 $x264 -g 30 -c:a aac
  make late20.ts -i late20.mp4 -c copy
  make early_end.mp4 $small:d=12 -f lavfi -i sine=d=3 $x264 -c:a aac
  make long_sound.mp4 $small:d=2 -f lavfi -i sine=d=6 $x264 -c:a aac
}

batch_time() {
  make sixty.ts $small:d=60 -f lavfi -i sine=d=60 $x264 -g 30 -c:a aac -b:a 64k
  make wrap.ts -f lavfi -i testsrc2=s=160x90:d=4 -f lavfi -i sine=d=4 $x264 -c:a aac -output_ts_offset 95441
  make offset.mkv $small:d=3 -f lavfi -i sine=d=3 $x264 -c:a aac -output_ts_offset 7.5
  make editlist.mp4 -ss 1.3 -i plain.mp4 -c copy
  make part1.ts $small:d=3 -f lavfi -i sine=d=3 $x264 -c:a aac -output_ts_offset 5000
  make part2.ts $small:d=3 -f lavfi -i sine=f=880:d=3 $x264 -c:a aac -output_ts_offset 100
  [ -s joined.ts ] || cat part1.ts part2.ts > joined.ts
  # a picture size, a sample rate and a layout that change in mid-course
  make other.ts -f lavfi -i testsrc2=s=320x240:r=15:d=2 -f lavfi -i sine=f=500:r=48000:d=2 $x264 -ac 2 -c:a aac -output_ts_offset 3
  make first.ts $small:d=3 -f lavfi -i sine=d=3 $x264 -c:a aac
  [ -s changes.ts ] || cat first.ts other.ts > changes.ts
  # All packets of the video before all of the audio: packets of 188 bytes, moved by their PID.
  [ -s apart.ts ] || python3 - <<'PY'
data = open("sixty.ts", "rb").read()
packets = [data[i:i + 188] for i in range(0, len(data), 188)]
pid = lambda p: (p[1] & 31) << 8 | p[2]
sound = [p for p in packets if pid(p) == 0x101]
open("part.apart.ts", "wb").write(b"".join([p for p in packets if pid(p) != 0x101] + sound))
import os
os.rename("part.apart.ts", "apart.ts")
PY
  make keys.mp4 -f lavfi -i testsrc2=s=160x90:r=25:d=20 $x264 -g 50 -keyint_min 50 -sc_threshold 0 -bf 2
}

batch_damage() {
  head -c 30000 video_only.mp4 > no_moov.mp4
  size=$(wc -c < plain.mp4)
  head -c $((size * 45 / 100)) plain.mp4 > cut.mp4
  cp plain.mp4 flipped.mp4
  for at in 30 45 60 75; do
    printf '\377\377\377\377\377\377\377\377' | dd of=flipped.mp4 bs=1 seek=$((size * at / 100)) conv=notrunc status=none
  done
  : > empty.mp4
  echo "hello, this is not media" > text.mp4
  printf '#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXTINF:4.0,\nplain.mp4\n#EXT-X-ENDLIST\n' > list.m3u8
  printf "ffconcat version 1.0\nfile plain.mp4\n" > list.ffconcat
}

batch_plain
batch_hdr & hdr=$!
batch_sound & sound=$!
batch_time
wait $hdr
wait $sound
batch_damage
