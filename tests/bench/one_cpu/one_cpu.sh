#!/usr/bin/env bash
# Whether one thread is really one: compares `sparsenet bench --threads 1` where the process may use every CPU with the
# same inside a control group of one CPU. Interleaved; prints the median of the rounds' medians and their ratio. A
# process that starts a second thread, or waits for one, is slower inside. Needs root, for the group.
#
#   tests/bench/one_cpu/one_cpu.sh MODEL.snet... [--rounds N] [--runs N]
set -euo pipefail
cd "$(dirname "$0")/../../.."
program=build/release/bin/sparsenet
rounds=9 runs=100 models=()
while [ $# -gt 0 ]; do
  case "$1" in
    --rounds | --runs)
      [[ ${2-} =~ ^[1-9][0-9]*$ ]] || { echo "error: $1 needs a number, found '${2-}'" >&2; exit 2; }
      declare "${1#--}=$2"
      shift
      ;;
    -*) echo "error: unknown argument '$1'" >&2; exit 2 ;;
    *) models+=("$1") ;;
  esac
  shift
done
[ ${#models[@]} -gt 0 ] || { echo "usage: $0 MODEL.snet... [--rounds N] [--runs N]" >&2; exit 2; }
[ -x $program ] || { echo "error: $program is missing: build the release preset first" >&2; exit 1; }

[ "$(id -u)" = 0 ] || { echo "error: a control group is made by root: run this with sudo" >&2; exit 1; }
# Version 2 has one hierarchy, version 1 one for each controller.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  group=/sys/fs/cgroup/sparsenet-one-cpu
  echo +cpuset >/sys/fs/cgroup/cgroup.subtree_control
  mkdir -p $group
else
  group=/sys/fs/cgroup/cpuset/sparsenet-one-cpu
  mkdir -p $group
  cat /sys/fs/cgroup/cpuset/cpuset.mems >$group/cpuset.mems
fi
trap 'rmdir $group' EXIT
taskset -cp $$ | grep -oE '[0-9]+' | sed -n 2p >$group/cpuset.cpus  # the first CPU that this process may use

# The median latency in milliseconds.
median_latency() {
  $program bench "$1" --threads 1 --runs "$runs" --json |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["latency_ms"]["p50"])'
}
median() { sort -n | awk '{ x[NR] = $1 } END { print NR % 2 ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2 }'; }
printf '%-40s %10s %10s %8s\n' model "all CPUs" "one CPU" ratio
for model in "${models[@]}"; do
  free=() inside=()
  for ((i = 0; i < rounds; ++i)); do
    free+=("$(median_latency "$model")")
    inside+=("$(echo $BASHPID >$group/cgroup.procs && median_latency "$model")")
  done
  a=$(printf '%s\n' "${free[@]}" | median) b=$(printf '%s\n' "${inside[@]}" | median)
  printf '%-40s %10.3f %10.3f %8.3f\n' "$(basename "$model")" "$a" "$b" "$(awk "BEGIN { print $b / $a }")"
done
