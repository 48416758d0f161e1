#!/bin/sh
# Builds the fuzz targets with clang (libFuzzer, ASan, UBSan) and runs each for a while: run.sh [SECONDS] [BUILD-FOLDER]
# New inputs stay in the build folder; a crash leaves its input there and ends with a status other than 0.
set -eu
seconds=${1:-10}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${2:-$root/build/fuzz}
command -v clang >/dev/null || { echo "fuzz: clang is not installed (packages clang and libclang-rt-dev)"; exit 77; }
mkdir -p "$build/include" "$build/objects"
for module in base config pipeline http/ws; do ln -sfn "$root/core/$module" "$build/include/${module##*/}"; done

flags="-g -O1 -std=gnu11 -D_GNU_SOURCE -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
  -I$build/include -I$root/sdk/include -I$root/tests/unit/pipeline $(pkg-config --cflags yaml-0.1 jansson openssl)"
newest=$(ls -t "$root"/core/base/*.h "$root"/core/config/*.h "$root"/core/pipeline/*.h "$root/core/http/ws/frame.h" "$root"/sdk/include/stagemill/*.h | head -n 1)
objects=
for source in "$root"/core/base/*.c "$root"/core/config/*.c "$root"/core/pipeline/*.c "$root/core/http/ws/frame.c" "$root/tests/unit/pipeline/stages.c"; do
  object=$build/objects/$(echo "${source#"$root"/}" | tr / _).o
  objects="$objects $object"
  { [ "$object" -nt "$source" ] && [ "$object" -nt "$newest" ]; } || clang $flags -c "$source" -o "$object"
done

for target in pipeline expr frame; do
  clang $flags -fsanitize=fuzzer,address,undefined "$here/${target}_target.c" $objects \
    $(pkg-config --libs yaml-0.1 jansson openssl) -lm -lpthread -o "$build/$target"
  mkdir -p "$build/found-$target"
  seeds=$here/corpus/$target
  [ $target = pipeline ] && seeds="$seeds $root/tests/unit/pipeline/cases"
  (cd "$build" && "./$target" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -max_len=8192 -print_final_stats=1 \
    -verbosity=0 -artifact_prefix="$build/crash-$target-" "found-$target" $seeds 2>&1 | grep -v 'Uses:\|ecommended dictionary' | tail -n 40)
  [ -z "$(ls "$build" | grep "^crash-$target-" || true)" ] || { echo "fuzz: $target failed: see $build"; exit 1; }
done
