#!/bin/bash
# rgw-down.sh DIR - stops what rgw-up.sh started there, by the process ids it left, and waits until they are gone (nothing in it is worth a slow end).
dir=${1:?usage: rgw-down.sh DIR}
pids=$(cat "$dir"/run/*.pid 2>/dev/null)
[ -n "$pids" ] || exit 0
kill $pids 2>/dev/null
for _ in $(seq 10); do
  alive=0
  for pid in $pids; do kill -0 "$pid" 2>/dev/null && alive=1; done
  [ $alive = 0 ] && exit 0
  sleep 0.1
done
kill -9 $pids 2>/dev/null
exit 0
