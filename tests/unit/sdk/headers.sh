#!/bin/sh
# Each SDK header alone compiles as C11, C17 and C++17 with -pedantic, by gcc and clang. usage: headers.sh INCLUDE WORK
set -u
include=$1 work=$2 failed=0 count=0
mkdir -p "$work"
try() { # compiler standard language header
  command -v "$1" > /dev/null || { echo "$1 is not installed: install gcc, g++ and clang"; exit 1; }
  # Included twice and used, so that guards and unused warnings count as well.
  printf '#include <stagemill/%s>\n#include <stagemill/%s>\n' "$4" "$4" > "$work/try.$3"
  if ! "$1" "-std=$2" -pedantic -Wall -Wextra -Werror -Wshadow -Wundef -Wconversion -I"$include" -fsyntax-only "$work/try.$3"; then
    echo "$4 does not compile alone with $1 -std=$2"
    failed=1
  fi
  count=$((count + 1))
}
for header in "$include"/stagemill/*.h; do
  header=${header##*/}
  for compiler in gcc clang; do
    for standard in c11 c17; do try $compiler $standard c "$header"; done
  done
  for compiler in g++ clang++; do try $compiler c++17 cc "$header"; done
done
echo "$count compilations"
exit $failed
