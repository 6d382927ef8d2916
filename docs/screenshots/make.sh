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
# From one place to another of the same height, or to a place given by both its numbers.
drag() {
  xdotool mousemove "$1" "$2"
  sleep 0.5
  xdotool mousedown 1
  for part in 1 2 3 4; do
    sleep 0.3
    xdotool mousemove $(($1 + ($3 - $1) * part / 4)) "${4:-$2}"
  done
  sleep 0.5
  xdotool mouseup 1
  sleep 0.5
}
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

# Until the window shows the same for fifteen seconds.
still() {
  same=0
  for _ in $(seq 200); do
    now=$(import -window root rgb:- | md5sum)
    if [ "$now" = "${last:-}" ]; then same=$((same + 1)); else same=0; fi
    [ "$same" -ge 3 ] && return 0
    last=$now
    sleep 5
  done
  echo "the window never came to rest" >&2
  exit 1
}

# A first start, and one click.
sleep 8
click 120 784
pictures 1
sleep 7
shot first-picture

# Without a window manager keys reach the window that is given the focus.
xdotool windowfocus "$(xdotool search --name Admix | head -1)"

# A live merge: another model mixed in, Live on, the slider between the two dragged; then the picture before under the new one.
click 253 361
click 479 784
drag 1089 182 1150
still
drag 914 370 620 370
shot live-merge

# Scrub and sweep: Shift-drag the same slider.
xdotool key Escape
click 479 784
xdotool keydown shift
sleep 0.5
drag 1150 182 1175
xdotool keyup shift
xdotool mousemove 600 300
still
shot sweep

# Try an adapter on: found on the shelf, and the button in its row.
click 170 89
xdotool type --delay 100 neon
sleep 2
click 219 144
xdotool mousemove 600 300
still
shot try-on

# The card of a file, from its header alone.
click 150 163
shot fit-card
