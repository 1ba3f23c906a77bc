#!/usr/bin/env bash
# Starts the firmware, shows its output, and compares its results with the records for this model and processor:
# checksums of logits, losses of training. Fails if the firmware fails or if a result differs.
#   check_board.sh RECORD COMPILER_VERSION COMMAND...
#   RECORD   a file with the expected lines; its first line names the compiler version with which they were made, because
#            another one may round differently: then the lines are not compared, and a message says so. If the file does
#            not exist, nothing is on record. UPDATE_RECORDS=1 in the environment writes it.
set -euo pipefail
record=$1 version=$2
shift 2
lines() { grep -E '^(image: |training: (step|[0-9]+ of ))' | tr -d '\r' || true; }

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
  { echo "compiler $version"; lines <"$log"; } >"$record"
  echo "record: written to $record"
elif [ ! -f "$record" ]; then
  echo "record: none for this model and processor; nothing is compared"
elif [ "$(head -n 1 "$record")" != "compiler $version" ]; then
  echo "record: made with $(head -n 1 "$record"), this is $version; logits and losses are not compared"
else
  if ! diff <(tail -n +2 "$record") <(lines <"$log") >&2; then
    echo "error: the board computes something else than what is on record ($record); where that is meant, write it anew" \
      "with UPDATE_RECORDS=1" >&2
    exit 1
  fi
  echo "record: all $(($(wc -l <"$record") - 1)) lines of logits and losses are as they were"
fi
