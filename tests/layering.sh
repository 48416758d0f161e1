#!/bin/sh
# layering.sh [BUILD] - what may know what. Prints a line for each rule, "ok NAME" or "not ok NAME: why"; exits 1 when
# one is broken, and names the places.
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-${STAGEMILL_BUILD:-$root/build}}
cd "$root" || exit 2
broken=0

# rule NAME FOUND: FOUND is empty when the rule holds.
rule() {
  if [ -z "$2" ]; then
    echo "ok $1"
  else
    broken=1
    echo "not ok $1: $(echo "$2" | head -n 5 | tr '\n' ';')"
  fi
}

c_files() { git ls-files "$@" 2>/dev/null | grep -E '\.(c|h|cpp|hpp)$'; }

rule "the core names no stage of ours" "$(grep -rilE 'hls|watermark' core/)"
rule "no include climbs out of its folder" "$(c_files | xargs grep -nE '^ *# *include +["<]\.\./')"
modules=$(find core -mindepth 1 -maxdepth 2 -name CMakeLists.txt -printf '%h\n' | sed 's|.*/||' | grep -v '^core$' | sort -u | paste -sd'|')
rule "a plugin sees the SDK and plugins/common, nothing of the core" \
  "$(c_files plugins | xargs grep -nE "^ *# *include +\"($modules)/")"
rule "plugins/common knows neither SDK nor core" "$(c_files plugins/common | xargs grep -nE 'include +["<](stagemill|base)/')"
rule "only the runner's media module includes libav in the core" \
  "$(c_files core | grep -v '^core/runner/media/' | xargs grep -nE 'include +["<]lib(av|sw)[a-z]*/' | grep -v 'version.*\.h')"
rule "SDK headers include nothing but the C library, libav and themselves" \
  "$(grep -nE '# *include' sdk/include/stagemill/*.h | grep -vE '<(std[a-z]+|string|errno|stagemill/[a-z]+|lib(av|sw)[a-z]+/[a-z_]+)\.h>')"
rule "no file is longer than 800 lines" \
  "$(c_files core plugins sdk tests | xargs wc -l | awk '$2 != "total" && $1 > 800 {print $2 " has " $1}')"
if [ -d "$build/bin" ]; then
  needs() { readelf -d "$1" 2>/dev/null | grep -E 'NEEDED.*lib(av|sw)' ; }
  rule "stagemill and stagemill-runner are not linked to libav" \
    "$(for program in "$build"/bin/stagemill "$build"/libexec/stagemill/stagemill-runner; do needs "$program"; done)"
  rule "a plugin exports its one symbol and nothing else" \
    "$(for plugin in "$build"/lib/stagemill/plugins/*.so; do
         nm -D --defined-only "$plugin" | grep -vE ' (stagemill_plugin|_init|_fini)$|__[a-z]*san_|__start_|__stop_|__(odr_)?asan' | sed "s|^|$(basename "$plugin") |"
       done)"
fi
exit $broken
