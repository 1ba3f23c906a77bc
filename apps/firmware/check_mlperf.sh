#!/usr/bin/env bash
# Gives a board (in an emulator) and this machine's sparsenet-mlperf-tiny the same image and commands: their answers
# must be the same, except for times and differences of up to 0.002 between results.
#   check_mlperf.sh HOST_PROGRAM HOST_MODEL IMAGES BOARD_COMMAND...
set -euo pipefail
host=$1 model=$2 images=$3
shift 3

# The first record of the images: a label byte, then 3072 bytes. (The protocol expects rows of pixels, so the colours
# are mixed up; but that is the same for both devices.)
commands() {
  printf 'name%%profile%%bogus%%db load 3072%%'
  head -c 3073 "$images" | tail -c 3072 | od -An -v -tx1 -w32 | tr -d ' ' | while read -r line; do printf 'db %s%%' "$line"; done
  printf 'infer 2 1%%results%%'
}
answers() { tr -d '\r' | grep -v '^m-lap-us-' || true; }

commands | "$host" "$model" | answers >mlperf-host.txt
{ commands; printf '\004'; } | timeout 120 "$@" | answers >mlperf-board.txt
grep -q '^m-results-\[.*[1-9]' mlperf-board.txt || { echo "error: the board gave no results" >&2; exit 1; }
awk -F'[][,]' '
  NR == FNR { expected[FNR] = $0; lines = FNR; next }
  /^m-results-/ {
    split(expected[FNR], e, /[][,]/)
    for (i = 2; i <= NF; ++i) {
      difference = $i - e[i]
      if (difference > 0.002 || difference < -0.002) { print "error: result " i - 1 ": expected " e[i] ", found " $i; bad = 1 }
    }
    found = FNR
    next
  }
  { if ($0 != expected[FNR]) { print "error: expected " expected[FNR] ", found " $0; bad = 1 } found = FNR }
  END { if (found != lines) { print "error: expected " lines " lines, found " found; bad = 1 } exit bad }
' mlperf-host.txt mlperf-board.txt
echo "MLPerf Tiny: the board answers as this machine does"
