#!/usr/bin/env bash
# Gives a board (in an emulator) and this machine's sparsenet-mlperf-tiny the same input and commands: their answers
# must be the same, except for times and, without --exact, small differences between results. Networks of integers give
# the same numbers everywhere: --exact is for them.
#   check_mlperf.sh [--exact] HOST_PROGRAM HOST_MODEL IMAGES BOARD_COMMAND...
set -euo pipefail
absolute=0.002 relative=0.00001
if [ "$1" = --exact ]; then
  absolute=0 relative=0
  shift
fi
host=$1 model=$2 images=$3
shift 3

# The input of the network's task, as hexadecimal digits, from the first record of the images: a label byte, then 3072
# bytes. Image classification expects rows of pixels, so the colours are mixed up, and for the other tasks they mean
# nothing; but that is the same for both devices. Anomaly detection takes float32: a byte is the second highest of a
# number from -32 to -127.5.
task=$(printf 'profile%%' | "$host" "$model" | tr -d '\r' | sed -n 's/^m-model-\[\(.*\)\]$/\1/p')
image_bytes() { head -c $((1 + $1)) "$images" | tail -c "$1" | od -An -v -tx1 | tr -d ' \n'; }
case $task in
  ic0*) bytes=3072 digits=$(image_bytes 3072) ;;
  kws01) bytes=490 digits=$(image_bytes 490) ;;
  ad01) bytes=2560 digits=$(image_bytes 640 | sed 's/../0000&c2/g') ;;
  *) echo "error: expected a network for ic01, kws01 or ad01, found '$task'" >&2; exit 1 ;;
esac
commands() {
  printf 'name%%profile%%bogus%%db load %d%%' "$bytes"
  fold -w 62 <<<"$digits" | while read -r line; do printf 'db %s%%' "$line"; done
  printf 'infer 2 1%%results%%'
}
answers() { tr -d '\r' | grep -v '^m-lap-us-' || true; }

commands | "$host" "$model" | answers >mlperf-host.txt
{ commands; printf '\004'; } | timeout 120 "$@" | answers >mlperf-board.txt
grep -q '^m-results-\[.*[1-9]' mlperf-board.txt || { echo "error: the board gave no results" >&2; exit 1; }
awk -F'[][,]' -v absolute="$absolute" -v relative="$relative" '
  NR == FNR { expected[FNR] = $0; lines = FNR; next }
  /^m-results-/ {
    if (split(expected[FNR], e, /[][,]/) != NF) { print "error: expected " expected[FNR] ", found " $0; bad = 1 }
    for (i = 2; i < NF; ++i) {
      difference = $i - e[i]
      limit = absolute + relative * (e[i] < 0 ? -e[i] : e[i])
      if (difference > limit || difference < -limit) { print "error: result " i - 1 ": expected " e[i] ", found " $i; bad = 1 }
    }
    found = FNR
    next
  }
  { if ($0 != expected[FNR]) { print "error: expected " expected[FNR] ", found " $0; bad = 1 } found = FNR }
  END { if (found != lines) { print "error: expected " lines " lines, found " found; bad = 1 } exit bad }
' mlperf-host.txt mlperf-board.txt
echo "MLPerf Tiny, $task: the board answers as this machine does"
