#!/bin/sh
# run.sh - installs what the tests need, builds every variant, runs all suites, says how long each took.
#
#   sh tests/run.sh [--long] [--only SUITE]... [--list]
#
#   --long   everything, without regard to time (200 kills in the store suite, scenarios under the sanitizers, clang)
#   --only   these suites alone (and the builds they need)
#
# The last line is "N passed, N failed" and, when tests were skipped, ", N skipped"; the exit code is 0 only when nothing
# failed. Results and logs: build/results. Needs root only when packages are missing.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/packaging/packages.sh"
all="layering unit sdk integration asan tsan clang"
only=
long=0
while [ $# -gt 0 ]; do
  case $1 in
  --long) long=1 ;;
  --only) shift; only="$only ${1:-}" ;;
  --list) echo "$all"; exit 0 ;;
  *) echo "usage: sh tests/run.sh [--long] [--only SUITE]... [--list]; suites: $all" >&2; exit 2 ;;
  esac
  shift
done
for suite in $only; do
  case " $all " in *" $suite "*) ;; *) echo "no suite $suite; there are: $all" >&2; exit 2 ;; esac
done
[ -n "$only" ] || { only=$all; [ "$long" = 1 ] || only="layering unit sdk integration asan tsan"; }
[ "$long" = 1 ] && { STAGEMILL_LONG=1; export STAGEMILL_LONG; }

build=$root/build
results=$build/results
jobs=$(nproc 2>/dev/null || echo 2)
passed=0
failed=0
skipped=0
begun=$(date +%s)
python=/usr/bin/python3
mkdir -p "$results" || exit 1
rm -f "$results"/*.xml "$results"/*.txt "$results"/*.log
rm -rf "$results"/*-cache
LC_ALL=C.UTF-8
STAGEMILL_MEDIA=$build/media
export LC_ALL STAGEMILL_MEDIA
unset MAKEFLAGS 2>/dev/null

now() { date +%s; }
wanted() { case " $only " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

# prepare NAME COMMAND...: a step that is no test; when it fails there is nothing to go on with.
prepare() {
  what=$1
  shift
  at=$(now)
  printf '%-34s' "$what"
  if ! "$@" >"$results/$what.log" 2>&1 </dev/null; then
    printf 'failed after %d s\n' $(($(now) - at))
    tail -n 40 "$results/$what.log"
    failed=$((failed + 1))
    finish
  fi
  printf '%26s%5d s\n' '' $(($(now) - at))
}

# count NAME SECONDS FILE...: adds the results of a suite and prints its line, then what failed or was skipped.
count() {
  what=$1
  seconds=$2
  shift 2
  $python "$root/tests/tally.py" "$@" >"$results/$what.tally" || echo "0 1 0" >"$results/$what.tally"
  read -r p f s <"$results/$what.tally"
  passed=$((passed + p))
  failed=$((failed + f))
  skipped=$((skipped + s))
  printf '%-34s%6d passed %4d failed %4d skipped%5d s\n' "$what" "$p" "$f" "$s" "$seconds"
  sed -n '2,$s/^/    /p' "$results/$what.tally"
  [ "$f" = 0 ] || echo "    log: $results/$what.log"
}

finish() {
  end="$passed passed, $failed failed"
  [ "$skipped" = 0 ] || end="$end, $skipped skipped"
  printf '\n%d min %d s\n%s\n' $((($(now) - begun) / 60)) $((($(now) - begun) % 60)) "$end"
  [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
  exit $?
}

# configure FOLDER OPTIONS...: a build variant; kept between runs, so that a second run only builds what changed.
configure() {
  folder=$1
  shift
  cmake -G Ninja -S "$root" -B "$folder" -DSTAGEMILL_TESTS=ON "$@" && cmake --build "$folder" -j "$jobs"
}

# ended SUITE CODE SECONDS: a suite that was stopped for its time has failed, whatever it had done by then; the limits are
# there for what hangs, a busy machine takes twice as long as a quiet one.
ended() {
  case $2 in
  124 | 137) echo "not ok $1: stopped after $3 s, not all of it was run (a busy machine? try --only $1)" ;;
  esac >"$results/$1.ended.txt"
  [ -s "$results/$1.ended.txt" ] || echo "ok" >"$results/$1.ended.txt"
}

# once_more SUITE CODE: tests run beside others, on machines that have more to do; the few that failed get a second run,
# alone. What fails there has failed, and what passes is told (tally.py).
once_more() {
  [ "$2" != 0 ] && [ "$2" != 124 ] && [ "$2" != 137 ] || return 1
  $python "$root/tests/tally.py" "$results/$1.xml" >"$results/$1-once.tally" 2>/dev/null || return 1
  read -r p f s <"$results/$1-once.tally"
  [ "$f" -gt 0 ] && [ "$f" -le 6 ]
}

# programs SUITE FOLDER SECONDS CTEST-ARGUMENTS...
programs() {
  suite=$1
  folder=$2
  limit=$3
  shift 3
  at=$(now)
  timeout --kill-after=20 "$limit" $quiet_addresses ctest --test-dir "$folder" --output-junit "$results/$suite.xml" \
    --test-output-size-passed 200000 --test-output-size-failed 400000 --output-on-failure --no-tests=error \
    -j "$jobs" "$@" >"$results/$suite.log" 2>&1 </dev/null
  code=$?
  ended "$suite" $code "$limit"
  if once_more "$suite" $code; then
    timeout --kill-after=20 "$limit" $quiet_addresses ctest --test-dir "$folder" --output-junit "$results/$suite-again.xml" \
      --test-output-size-passed 200000 --test-output-size-failed 400000 --output-on-failure --rerun-failed \
      >"$results/$suite-again.log" 2>&1 </dev/null
  fi
  count "$suite" $(($(now) - at)) "$results/$suite.xml" "$results/$suite.ended.txt" --again "$results/$suite-again.xml"
}

# scenarios SUITE FOLDER SECONDS PYTEST-ARGUMENTS...
scenarios() {
  suite=$1
  folder=$2
  limit=$3
  shift 3
  at=$(now)
  before=$failed
  folders_made=$(mktemp -d "${TMPDIR:-/tmp}/stagemill-tests.XXXXXX") || exit 1
  (
    cd "$root/tests" || exit 1
    STAGEMILL_BUILD=$folder timeout --signal=INT --kill-after=20 "$limit" $python -m pytest -q -rs --tb=short \
      -n "$jobs" --dist loadfile -o cache_dir="$results/$suite-cache" --basetemp="$folders_made/t" --durations=15 \
      --junitxml="$results/$suite.xml" "$@" >"$results/$suite.log" 2>&1 </dev/null
  )
  code=$?
  ended "$suite" $code "$limit"
  if once_more "$suite" $code; then
    (
      cd "$root/tests" || exit 1
      STAGEMILL_BUILD=$folder timeout --signal=INT --kill-after=20 "$limit" $python -m pytest -q -rs --tb=short --last-failed \
        -p no:xdist -o cache_dir="$results/$suite-cache" --basetemp="$folders_made/again" \
        --junitxml="$results/$suite-again.xml" "$@" >"$results/$suite-again.log" 2>&1 </dev/null
    )
  fi
  count "$suite" $(($(now) - at)) "$results/$suite.xml" "$results/$suite.ended.txt" --again "$results/$suite-again.xml"
  # What the tests wrote goes, unless somebody will want to look at it.
  if [ "$failed" = "$before" ]; then rm -rf "$folders_made"; else echo "    their folders: $folders_made"; fi
}

# Under TSan the kernel's address randomisation may leave no room for its shadow memory.
quiet_addresses=
without_randomisation() {
  if setarch "$(uname -m)" -R true 2>/dev/null; then quiet_addresses="setarch $(uname -m) -R"; fi
}

node_modules() {
  [ -f "$root/tests/package.json" ] || return 0
  stamp=$root/tests/node_modules/.package-lock.json
  [ -f "$stamp" ] && [ "$stamp" -nt "$root/tests/package-lock.json" ] && return 0
  cd "$root/tests" && npm ci --no-audit --no-fund --loglevel=error
}

echo "stagemill tests: $only"
# shellcheck disable=SC2046,SC2086
prepare packages packages_install $packages_build $packages_run $packages_test $(packages_node)
prepare node node_modules
prepare build configure "$build"
prepare clips packages_clip "$build/clips"
STAGEMILL_CLIPS=$build/clips
export STAGEMILL_CLIPS

if wanted layering; then
  at=$(now)
  sh "$root/tests/layering.sh" "$build" >"$results/layering.txt" 2>"$results/layering.log" </dev/null
  count layering $(($(now) - at)) "$results/layering.txt"
fi
if wanted unit; then programs unit "$build" 900 -E '^sdk_'; fi
if wanted sdk; then programs sdk "$build" 200 -R '^sdk_'; fi
if wanted integration; then
  folders=
  for folder in integration e2e crash; do
    ls "$root/tests/$folder"/test_*.py >/dev/null 2>&1 && folders="$folders $folder"
  done
  # shellcheck disable=SC2086
  scenarios integration "$build" $((long ? 7200 : 1500)) $folders
fi
if wanted asan; then
  ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0:allocator_may_return_null=1}
  UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
  export ASAN_OPTIONS UBSAN_OPTIONS
  prepare build-asan configure "$root/build-asan" -DSTAGEMILL_SANITIZE=address
  programs asan "$root/build-asan" 1200
  # Scenarios whose every attempt is short enough under the sanitizers.
  chosen="integration/test_fetch.py integration/test_upload_folder.py"
  [ "$long" = 1 ] && chosen=integration
  # shellcheck disable=SC2086
  scenarios asan-scenarios "$root/build-asan" $((long ? 7200 : 900)) $chosen
  unset ASAN_OPTIONS UBSAN_OPTIONS
fi
if wanted tsan; then
  # libav and x264 are not instrumented: everything that lives in them is left out.
  without_randomisation
  TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=0:exitcode=66:second_deadlock_stack=1:suppressions=$root/tests/tsan.supp}
  export TSAN_OPTIONS
  prepare build-tsan configure "$root/build-tsan" -DSTAGEMILL_SANITIZE=thread
  programs tsan "$root/build-tsan" 1200 -E '^(sdk_|plugin_|hls_|media_|pass_media|pass_libav)'
  unset TSAN_OPTIONS
  quiet_addresses=
fi
if wanted clang; then
  prepare build-clang configure "$root/build-clang" -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++
  programs clang "$root/build-clang" 900
fi
finish
