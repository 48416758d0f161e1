# packages.sh - the Debian 12 packages stagemill needs, in one place. Sourced by try.sh and tests/run.sh.
# shellcheck shell=sh

# To build: compilers and the libraries' headers.
packages_build="gcc g++ libc6-dev make cmake ninja-build pkg-config
  fonts-dejavu-core libssl-dev libcurl4-openssl-dev libjansson-dev liblmdb-dev libyaml-dev libarchive-dev libcivetweb-dev libjwt-dev libseccomp-dev libfreetype-dev
  libavformat-dev libavcodec-dev libavfilter-dev libavutil-dev libswscale-dev libswresample-dev"

# To run what was built: trusted certificates; the libraries themselves come with their headers.
packages_run="ca-certificates"

# To test: frameworks, ffmpeg as maker and judge of media, a real S3 server (Ceph's gateway) with s3cmd as its foreign
# client, a browser, a proxy, mail servers, WebSocket clients and promtool, strace, clang for its own warnings.
packages_test="libcmocka-dev python3 python3-pytest python3-pytest-xdist python3-pexpect python3-yaml ffmpeg strace procps util-linux
  binutils man-db groff-base git clang libclang-rt-dev radosgw ceph-mon ceph-osd ceph-base ceph-common s3cmd zsh
  fish chromium nginx postfix libsasl2-modules-db python3-aiosmtpd python3-websockets python3-jsonschema python3-jwt prometheus curl openssl"

# Node runs the independent playlist parsers. Debian's nodejs has no npm inside, other builds of it do.
packages_node() {
  command -v node >/dev/null 2>&1 || echo nodejs
  command -v npm >/dev/null 2>&1 || echo npm
}

# packages_missing NAME...: those that are not installed, in one line.
packages_missing() {
  absent=
  for name in "$@"; do
    state=$(dpkg-query -W -f '${Status}' "$name" 2>/dev/null) || state=
    [ "$state" = "install ok installed" ] || absent="$absent $name"
  done
  echo "$absent"
}

# packages_tell WORDS: to the person who waits, when the caller named a descriptor for that in packages_fd.
packages_tell() { [ -z "${packages_fd-}" ] || echo "$*" >&"$packages_fd"; }

# packages_update: apt-get waits for dpkg's lock when told, but not for that of its lists; a machine that has just been
# started, and one where an earlier run was killed, are busy with them for a while.
packages_update() {
  tries=0
  until updated=$(apt-get -q update </dev/null 2>&1); do
    echo "$updated"
    case $updated in *"Could not get lock"*) ;; *) return 1 ;; esac
    tries=$((tries + 1))
    [ $tries -lt 120 ] || return 1
    [ $tries -gt 1 ] || packages_tell "(another apt-get is at work: waiting)"
    sleep 5
  done
  echo "$updated"
}

packages_get() {
  apt-get -q -y -o DPkg::Lock::Timeout=600 --no-install-recommends install "$@" </dev/null
}

# packages_install NAME...: installs what is missing; does nothing, and needs no root, when nothing is.
packages_install() {
  missing=$(packages_missing "$@")
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ]; then
    echo "These packages are missing; run as root, or install them first: $missing" >&2
    return 1
  fi
  DEBIAN_FRONTEND=noninteractive
  export DEBIAN_FRONTEND
  packages_update || return 1
  # An installation that was killed half way leaves packages that are unpacked and not configured.
  # shellcheck disable=SC2086
  packages_get $missing || { dpkg --configure -a </dev/null && packages_get $missing; }
}

# packages_clip FOLDER: real clips (CC-BY-SA-4.0) out of a Debian package that is downloaded, not installed:
# movie-hello.mp4 (720p, 8.3 s) and VID_20191220_170832.mp4 (a phone's, 1080p, variable frame rate, 1.6 s).
packages_clip() {
  [ -s "$1/movie-hello.mp4" ] && [ -s "$1/VID_20191220_170832.mp4" ] && return 0
  mkdir -p "$1/package" || return 1
  (
    cd "$1/package" || exit 1
    get="apt-get -q -o APT::Sandbox::User=root download forensics-samples-files"
    $get </dev/null || { apt-get -q update </dev/null && $get </dev/null; } || exit 1
    dpkg-deb --fsys-tarfile forensics-samples-files_*.deb >files.tar || exit 1
    for clip in movie2/movie-hello.mp4 movie1/VID_20191220_170832.mp4; do
      tar -xO --wildcards -f files.tar "*/$clip" >"../${clip#*/}.part" && mv "../${clip#*/}.part" "../${clip#*/}" || exit 1
    done
  ) || return 1
  rm -rf "$1/package"
}
