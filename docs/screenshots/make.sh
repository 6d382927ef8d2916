#!/bin/sh
# Screenshots of the real program: a window on a virtual display, clicked through. Needs xvfb, xdotool and imagemagick.
# Usage: docs/screenshots/make.sh [PROGRAM]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=${1:-$here/../../target/release/admix}
display=:${ADMIX_DISPLAY:-91}
data=$(mktemp -d)
Xvfb "$display" -screen 0 1280x820x24 >/dev/null 2>&1 &
server=$!
trap 'kill $studio $server 2>/dev/null || true; rm -rf "$data"' EXIT
sleep 2
export DISPLAY="$display"
ADMIX_DATA="$data" "$program" >"$data/log" 2>&1 &
studio=$!

click() { xdotool mousemove "$1" "$2"; sleep 0.3; xdotool click 1; sleep 0.7; }
# Until the history holds this many pictures; the studio writes them every few seconds.
pictures() {
  for _ in $(seq 180); do
    [ "$(ls "$data/history" 2>/dev/null | grep -c png)" -ge "$1" ] && return 0
    sleep 1
  done
  echo "picture $1 was not made" >&2
  exit 1
}
shot() { sleep 1; import -window root -depth 8 -colors 255 "png8:$here/$1.png"; }

# A first start, and one click. Without a window manager keys reach no window: everything here is clicked.
sleep 8
click 120 784
pictures 1
sleep 7
shot first-picture
