#!/bin/sh
# Makes the clips that the plugin tests play. usage: media.sh FOLDER
set -eu
out=$1
mkdir -p "$out"
[ -e "$out/made-5" ] && exit 0
run() { ffmpeg -nostdin -v error -y "$@"; }
x264="-c:v libx264 -preset ultrafast -pix_fmt yuv420p"

run -f lavfi -i testsrc2=s=640x360:r=25:d=4 -f lavfi -i sine=d=4 $x264 -g 25 -c:a aac -metadata:s:a:0 language=deu "$out/clip.mp4"
run -i "$out/clip.mp4" -c copy -movflags +faststart "$out/faststart.mp4"
run -i "$out/clip.mp4" -c copy -metadata:s:v:0 rotate=270 "$out/rotated.mp4" # 90 degrees clockwise
run -i "$out/clip.mp4" -vf "select='not(mod(n,3))+lt(mod(n,10),4)'" -fps_mode vfr $x264 -an "$out/vfr.mp4"
run -f lavfi -i testsrc2=s=320x180:r=24:d=3 $x264 -bf 3 -an "$out/even.mkv"
run -f lavfi -i testsrc2=s=320x180:r=24:d=3 $x264 -an -f matroska - | cat > "$out/no_duration.mkv"
# The picture's brightness is its time: 20 levels a second.
run -f lavfi -i "color=black:s=320x180:r=10:d=8,format=yuv420p,geq=lum='16+20*T':cb=128:cr=128" $x264 -qp 0 -g 10 -an "$out/levels.mp4"
run -f lavfi -i "color=black:s=320x180:r=10:d=8,format=yuv420p,geq=lum='16+20*T':cb=128:cr=128" $x264 -qp 0 -g 10 -an -f matroska - | cat > "$out/levels.mkv"
run -f lavfi -i "color=black:s=320x180:r=10:d=6,format=yuv420p,geq=lum='if(lt(T,2),16,160)':cb=128:cr=128" $x264 -an "$out/black_first.mp4"
run -f lavfi -i testsrc2=s=640x360:r=24:d=1,format=yuv420p10le -c:v libx265 -preset ultrafast -tag:v hvc1 \
  -color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc -x265-params "log-level=error:hdr10=1:repeat-headers=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400" "$out/hdr10.mp4"
run -f lavfi -i testsrc2=s=640x360:r=24:d=1 -vf format=yuv420p10le -c:v libx265 -preset ultrafast -color_primaries bt2020 \
  -color_trc arib-std-b67 -colorspace bt2020nc -x265-params log-level=error "$out/hlg.mkv"
run -f lavfi -i testsrc2=s=720x576:r=25:d=1 -vf setsar=64/45 -c:v mpeg2video -flags +ildct+ilme -top 1 "$out/interlaced.mpg"
run -f lavfi -i testsrc=s=333x77:d=1,format=yuv444p -c:v ffv1 "$out/odd.mkv"
run -f lavfi -i testsrc2=s=320x180:r=25:d=1 $x264 -frames:v 1 -an "$out/one.mp4"
run -f lavfi -i sine=d=2 -c:a libmp3lame "$out/audio.mp3"
run -f lavfi -i anoisesrc=d=1:c=pink -c:a aac -ac 6 "$out/surround.m4a"
run -f lavfi -i color=red:s=300x300 -frames:v 1 "$out/cover.jpg"
run -i "$out/audio.mp3" -i "$out/cover.jpg" -map 0 -map 1 -c copy -id3v2_version 3 -disposition:v attached_pic "$out/cover.mp3"
run -f lavfi -i testsrc2=s=320x180:d=2 $x264 -an -output_ts_offset 95443 "$out/wrap.ts"
run -f lavfi -i testsrc2=s=320x180:d=1 -c:v libvpx -deadline realtime "$out/web.webm"
run -f lavfi -i "color=c=red@0.5:s=40x20,format=rgba" -frames:v 1 "$out/half_red.png"
run -f lavfi -i "color=c=white:s=64x32,format=rgba" -frames:v 1 "$out/white.png"
run -f lavfi -i "color=c=blue:s=60x60" -frames:v 1 "$out/blue.jpg"

# damaged and foreign
size=$(stat -c %s "$out/clip.mp4")
head -c $((size / 2)) "$out/clip.mp4" > "$out/no_moov.mp4"
head -c $((size / 2)) "$out/faststart.mp4" > "$out/cut.mp4"
head -c 100 "$out/white.png" > "$out/broken.png"
: > "$out/empty.mp4"
echo "hello, this is not a film" > "$out/text.mp4"
printf '#EXTM3U\n#EXTINF:4,\nfile://%s/clip.mp4\n#EXT-X-ENDLIST\n' "$out" > "$out/reach.m3u8"
printf 'ffconcat version 1.0\nfile %s/clip.mp4\n' "$out" > "$out/reach.concat"
head -c 300000 /dev/urandom > "$out/noise.bin"
head -c 300000 /dev/zero > "$out/zeros.bin"
touch "$out/made-5"
