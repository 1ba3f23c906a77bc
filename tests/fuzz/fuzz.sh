#!/usr/bin/env bash
# Builds the fuzz preset, runs its targets and reports the results.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'EOF'
usage: tests/fuzz/fuzz.sh [--seconds N | --runs N] [--jobs J] [--no-build] [--merge] [TARGET...]

Fuzzes every target (or only those given), starting from tests/fuzz/corpus, and prints a table: executions, executions
per second, coverage, inputs worth keeping, findings. Needs clang with libFuzzer: toolchains/setup.sh --with-fuzz.
Inputs found are kept in build/fuzz/fuzzing/TARGET, and the next run continues from them.
  --seconds N  total time, shared by the targets (default 60)
  --runs N     instead of a time, the executions per target, restarting after a finding, however long it takes
  --jobs J     targets to run at once (default: number of CPUs)
  --no-build   use the program built before
  --merge      instead of fuzzing, write the smallest set of inputs with full coverage to tests/fuzz/corpus
Exit code: 0 nothing found, 1 something found (reproducers are listed), 2 wrong usage.
EOF
}

seconds=60 runs=0 jobs=$(nproc) build=yes merge=no targets=()
number() { [[ ${1-} =~ ^[0-9]+$ ]] || { echo "error: expected a number, found '${1-}'" >&2; exit 2; }; }
while [ $# -gt 0 ]; do
  case "$1" in
    --seconds) number "${2-}"; seconds=$2; shift ;;
    --runs) number "${2-}"; runs=$2; shift ;;
    --jobs) number "${2-}"; jobs=$2; shift ;;
    --no-build) build=no ;;
    --merge) merge=yes ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "error: unknown argument '$1'" >&2; usage >&2; exit 2 ;;
    *) targets+=("$1") ;;
  esac
  shift
done

if [ $build = yes ]; then
  if ! echo 'int main() {}' | clang++ -fsanitize=fuzzer-no-link,address -x c++ - -o /dev/null 2>/dev/null; then
    echo "error: the fuzz preset needs clang with libFuzzer: toolchains/setup.sh --with-fuzz installs it" >&2
    exit 1
  fi
  log=$(mktemp)
  { cmake --preset fuzz && cmake --build --preset fuzz -j "$jobs"; } >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    echo "error: building the fuzz preset failed; its whole output is in $log" >&2
    exit 1
  }
  rm -f "$log"
fi
program=$PWD/build/fuzz/bin/fuzz_targets
declare -A longest
while read -r name length; do longest[$name]=$length; done < <(SPARSENET_FUZZ_TARGET=list "$program")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(SPARSENET_FUZZ_TARGET=list "$program" | cut -d' ' -f1)
for target in "${targets[@]}"; do
  [ -n "${longest[$target]-}" ] || { echo "error: unknown target '$target'; known: ${!longest[*]}" >&2; exit 2; }
done

# The limits of every run: 5 s and 512 MB per input. The quarantine of freed memory is part of the 512 MB.
export ASAN_OPTIONS=quarantine_size_mb=16:malloc_context_size=4:detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1
limits=(-rss_limit_mb=512 -malloc_limit_mb=512 -timeout=5)
scratch=$(mktemp -d /dev/shm/sparsenet-fuzz.XXXXXX 2>/dev/null || mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export TMPDIR=$scratch  # so that files left by crashed processes are removed, too

# Those folders of a target that exist.
inputs() {
  local folder
  for folder in corpus findings; do
    if [ -d "tests/fuzz/$folder/$1" ]; then echo "tests/fuzz/$folder/$1"; fi
  done
}
libfuzzer() {
  local target=$1
  shift
  SPARSENET_FUZZ_TARGET=$target "$program" "${limits[@]}" "-max_len=${longest[$target]}" "$@"
}

# Keeps the committed inputs small: only edges count, not how often they are taken, and of the remaining inputs the
# smallest are kept, up to 200 KB.
merge_one() {
  local target=$1 work=build/fuzz/fuzzing/$1 candidates=$scratch/$1.candidates fewest=$scratch/$1.fewest
  mkdir -p "$work/corpus" "tests/fuzz/corpus/$target" "$candidates" "$fewest"
  local folder
  for folder in "tests/fuzz/corpus/$target" "$work/corpus"; do
    find "$folder" -type f -size -13k -exec cp -t "$candidates" {} +
  done
  libfuzzer "$target" -merge=1 -use_counters=0 "$fewest" "$candidates" >"$work/merge.log" 2>&1
  rm -rf "tests/fuzz/corpus/$target"
  mkdir -p "tests/fuzz/corpus/$target"
  find "$fewest" -type f -printf '%s %p\n' | sort -n | awk '(sum += $1) <= 200000 { print $2 }' |
    xargs -r cp -t "tests/fuzz/corpus/$target"
  printf '%-12s %5d inputs %8d bytes\n' "$target" "$(find "tests/fuzz/corpus/$target" -type f | wc -l)" \
    "$(find "tests/fuzz/corpus/$target" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum + 0 }')"
}

# Runs once to the end and adds the numbers to the target's.
run_once() {
  local target=$1 work=build/fuzz/fuzzing/$1
  shift
  local dictionary=tests/fuzz/dictionaries/$target.dict options=()
  if [ -f "$dictionary" ]; then options+=("-dict=$dictionary"); fi
  mapfile -t folders < <(inputs "$target")
  local log=$work/log.$(date +%s%N)
  # libFuzzer's entropic schedule would take two thirds of the time with a corpus of a few hundred inputs.
  libfuzzer "$target" "${options[@]}" -print_final_stats=1 -entropic=0 -reload=0 \
    "-artifact_prefix=$work/found/" "$@" "$work/corpus" "${folders[@]}" >"$log" 2>&1 || true
  local executed
  executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  # A process ended by a sanitizer prints no statistics: take them from the last status line.
  if [ -z "$executed" ]; then executed=$(sed -n 's/^#\([0-9]*\).*/\1/p' "$log" | tail -n 1); fi
  local covered corpus
  covered=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
  corpus=$(sed -n 's/.* corp: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
  echo "${executed:-0} ${covered:-0} ${corpus:-0}" >>"$work/numbers"
}

# libFuzzer's clock also counts time in which other processes have the CPU: a timeout of 5 s counts only if the input
# takes that much CPU time of its own process as well.
drop_false_timeouts() {
  local target=$1 file TIMEFORMAT=%U own
  for file in "build/fuzz/fuzzing/$target/found"/timeout-*; do
    [ -f "$file" ] || continue
    own=$({ time libfuzzer "$target" -timeout=600 "$file" >/dev/null 2>&1; } 2>&1) || true
    if awk -v own="$own" 'BEGIN { exit !(own < 5) }'; then rm "$file"; fi
  done
}

fuzz_one() {
  local target=$1 work=build/fuzz/fuzzing/$1 start=$SECONDS
  mkdir -p "$work/corpus" "$work/found"
  rm -f "$work"/numbers "$work"/log.*
  touch "$scratch/$target.start"
  if [ "$runs" -eq 0 ]; then
    run_once "$target" "-max_total_time=$each"
  else
    local executed=0
    while [ "$executed" -lt "$runs" ]; do
      run_once "$target" "-runs=$((runs - executed))"
      local now
      now=$(awk '{ sum += $1 } END { print sum }' "$work/numbers")
      if [ "$now" -eq "$executed" ]; then break; fi  # it does not even start
      executed=$now
    done
  fi
  local took=$((SECONDS - start))
  drop_false_timeouts "$target"
  [ $took -gt 0 ] || took=1
  local found
  found=$(find "$work/found" -type f -newer "$scratch/$target.start" | wc -l)
  awk -v target="$target" -v took=$took -v found="$found" '
    { executed += $1; if ($2 > covered) covered = $2; corpus = $3 }
    END { printf "%-12s %12d %9d %9d %8d %9d\n", target, executed, executed / took, covered, corpus, found }
  ' "$work/numbers" >"$scratch/$target.row"
  find "$work/found" -type f -newer "$scratch/$target.start" >"$scratch/$target.found"
}

each=$((seconds * jobs / ${#targets[@]}))
[ $each -gt 0 ] || each=1
running=0
for target in "${targets[@]}"; do
  if [ $running -ge "$jobs" ]; then
    wait -n
    running=$((running - 1))
  fi
  if [ $merge = yes ]; then merge_one "$target" & else fuzz_one "$target" & fi
  running=$((running + 1))
done
wait
if [ $merge = yes ]; then exit 0; fi

printf '%-12s %12s %9s %9s %8s %9s\n' target executions a-second coverage corpus findings
for target in "${targets[@]}"; do cat "$scratch/$target.row"; done
if [ -n "$(cat "$scratch"/*.found)" ]; then
  echo "found (run it again: SPARSENET_FUZZ_TARGET=TARGET build/fuzz/bin/fuzz_targets FILE):" >&2
  cat "$scratch"/*.found >&2
  exit 1
fi
