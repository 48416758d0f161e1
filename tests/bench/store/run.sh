#!/bin/sh
# Durable transitions per second of the LMDB store, one transaction each beside group commit.
#   sh tests/bench/store/run.sh [SECONDS_PER_CASE [ROUNDS]]
# The build tree is STAGEMILL_BUILD or ./build; the store lies in BENCH_FOLDER or a temporary folder (a real disk, please).
set -eu
here=$(cd "$(dirname "$0")/../../.." && pwd)
build=${STAGEMILL_BUILD:-$here/build}
program=$build/tests/bench_store
if [ ! -x "$program" ]; then
  echo "run.sh: $program is missing: build it with cmake --build $build --target bench_store" >&2
  exit 2
fi
folder=$(mktemp -d "${BENCH_FOLDER:-/tmp}/stagemill-bench-XXXXXX")
trap 'rm -rf "$folder"' EXIT
"$program" "$folder" "${1:-1}" "${2:-5}"
