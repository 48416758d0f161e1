#!/bin/bash
# rgw-up.sh DIR [PORT] - a real S3 server for tests: Ceph's RADOS gateway over one monitor and one in-memory OSD, on
# loopback, without systemd. Everything it writes lies in DIR (emptied first); stop it with rgw-down.sh DIR.
# Prints the endpoint. Packages: radosgw ceph-mon ceph-osd ceph-base (see packaging/packages.sh).
# Keys: S3_ACCESS_KEY and S3_SECRET_KEY, or the defaults below.
set -euo pipefail
dir=${1:?usage: rgw-up.sh DIR [PORT]}
port=${2:-7480}
mon_port=$((port + 1))
access_key=${S3_ACCESS_KEY:-stagemilltestkey0001}
secret_key=${S3_SECRET_KEY:-stagemillTestSecretKey/With+Signs0000001}

rm -rf "$dir"
mkdir -p "$dir"/{mon,osd,rgw,run,log}
dir=$(cd "$dir" && pwd)
conf=$dir/ceph.conf
fsid=$(cat /proc/sys/kernel/random/uuid)
cat >"$conf" <<CONF
[global]
fsid = $fsid
mon host = v1:127.0.0.1:$mon_port
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 2000
mon data avail crit = 1
mon data avail warn = 2
run dir = $dir/run
admin socket = $dir/run/\$name.asok
pid file = $dir/run/\$name.pid
log file = $dir/log/\$name.log
log to stderr = false
err to stderr = false
crash dir = $dir/log
osd objectstore = memstore
memstore device bytes = 1073741824
osd class load list = *
osd class default list = *
osd max object name len = 256
osd max object namespace len = 64
[mon.a]
mon data = $dir/mon
mon addr = 127.0.0.1:$mon_port
[osd.0]
osd data = $dir/osd
[client.rgw]
rgw data = $dir/rgw
rgw frontends = beast endpoint=127.0.0.1:$port
rgw enable usage log = false
rgw thread pool size = 16
CONF

ceph() { timeout 30 /usr/bin/ceph -c "$conf" "$@"; }
# until TRIES SECONDS COMMAND... : repeats the command until it succeeds
until_ok() {
  local tries=$1 pause=$2
  shift 2
  for _ in $(seq "$tries"); do
    "$@" && return 0
    sleep "$pause"
  done
  failed "'$*' never succeeded"
}
# failed WHAT: what no caller could guess from an exit code; ceph's own words are in the logs.
failed() {
  echo "rgw-up.sh: $1" >&2
  tail -n 5 "$dir"/log/*.log >&2 || true
  exit 1
}
answers() { timeout 2 bash -c "exec 3<>/dev/tcp/127.0.0.1/$port" 2>/dev/null; }
start_osd() { ceph-osd -i 0 -c "$conf" >/dev/null 2>&1; }
osd_up() { ceph osd stat 2>/dev/null | grep -q '1 up'; }
new_osd() { ceph osd new "$osd" 0 >/dev/null 2>&1; }
# The gateway makes its pools before it answers; on a busy machine that takes longer than its own patience (300 s are its
# default), and a second start goes on where the first one gave up.
start_gateway() { timeout 60 radosgw -n client.rgw -c "$conf" >/dev/null 2>&1; }
new_user() {
  timeout 60 radosgw-admin -c "$conf" user create --uid=tester --display-name=tester \
    --access-key="$access_key" --secret-key="$secret_key" >"$dir/user.json" 2>/dev/null
}
quorum() { ceph mon stat >/dev/null 2>&1; }

monmaptool --create --clobber --fsid "$fsid" --addv a "[v1:127.0.0.1:$mon_port]" "$dir/monmap" >/dev/null
ceph-mon -i a -c "$conf" --mkfs --monmap "$dir/monmap" >/dev/null
ceph-mon -i a -c "$conf" >/dev/null
until_ok 100 0.2 quorum
osd=$(cat /proc/sys/kernel/random/uuid)
until_ok 5 1 new_osd
ceph-osd -i 0 -c "$conf" --mkfs --osd-uuid "$osd" >/dev/null 2>&1 || failed "ceph-osd --mkfs"
ceph osd crush add osd.0 1.0 root=default host=one >/dev/null 2>&1 || true
until_ok 20 0.5 start_osd
until_ok 150 0.2 osd_up
until_ok 3 1 start_gateway
until_ok 300 0.2 answers
until_ok 3 1 new_user
echo "http://127.0.0.1:$port"
