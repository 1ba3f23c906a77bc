#!/usr/bin/env bash
# Starts the firmware, shows its output, and compares its results with the records for this model and processor:
# checksums of logits, outputs that are as expected, losses of training. Fails if the firmware fails, if a result
# differs, or if a run takes more instructions or the program more flash, without the model, than is on record ("at
# most").
#   check_board.sh RECORD COMPILER_VERSION COMMAND...
#   RECORD   a file with the expected lines; its first line names the compiler version with which they were made, because
#            another one may round differently: then the lines are not compared, and a message says so. If the file does
#            not exist, nothing is on record. UPDATE_RECORDS=1 in the environment writes it.
set -euo pipefail
record=$1 version=$2
shift 2
lines() { grep -E '^(image: |outputs: |training: (step|[0-9]+ of ))' | tr -d '\r' || true; }
# The clock of an emulated board counts 40 instructions at a time, so a limit is a little above what was measured.
costs() {
  tr -d '\r' | sed -nE -e 's/^one run: ([0-9]+) instructions$/instructions \1/p' \
    -e 's/^flash: .*kernels ([0-9]+), runtime ([0-9]+), application and C library ([0-9]+) bytes$/flash \1 \2 \3/p' |
    awk -v above="$1" '$1 == "instructions" { print $1, $2 + above } $1 == "flash" { print $1, $2 + $3 + $4 }'
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# QEMU's semihosting prints to standard error.
timeout 300 "$@" </dev/null 2>&1 | tee "$log" || { echo "error: the firmware failed" >&2; exit 1; }
kernels=$(sed -n 's/^flash: .*kernels \([0-9]*\),.*/\1/p' "$log" | head -n 1)
if [ "$(lines <"$log" | wc -l)" -eq 0 ]; then
  echo "error: the firmware printed no logits" >&2
  exit 1
elif [ -n "$kernels" ] && [ "$kernels" -lt 4096 ]; then
  echo "error: only $kernels bytes of kernels: the linker script names files that are called otherwise now" >&2
  exit 1
elif [ -n "${UPDATE_RECORDS-}" ]; then
  { echo "compiler $version"; lines <"$log"; costs 4000 <"$log" | sed 's/^/at most: /'; } >"$record"
  echo "record: written to $record"
elif [ ! -f "$record" ]; then
  echo "record: none for this model and processor; nothing is compared"
elif [ "$(head -n 1 "$record")" != "compiler $version" ]; then
  echo "record: made with $(head -n 1 "$record"), this is $version; logits and losses are not compared"
else
  if ! diff <(tail -n +2 "$record" | grep -v '^at most: ') <(lines <"$log") >&2; then
    echo "error: the board computes something else than what is on record ($record); where that is meant, write it anew" \
      "with UPDATE_RECORDS=1" >&2
    exit 1
  fi
  while read -r what most; do
    found=$(costs 0 <"$log" | sed -n "s/^$what //p")
    if [ -z "$found" ] || [ "$found" -gt "$most" ]; then
      echo "error: $what: at most $most expected, found ${found:-none} ($record)" >&2
      exit 1
    fi
  done < <(sed -n 's/^at most: //p' "$record")
  echo "record: all $(lines <"$record" | wc -l) lines of logits and losses are as they were, and no cost has grown"
fi
