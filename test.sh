#!/usr/bin/env bash
# Builds everything and runs every test. From a clean clone on a machine that has nothing: ./test.sh
set -euo pipefail
cd "$(dirname "$0")"

usage() {
  cat <<'EOF'
usage: ./test.sh [--sanitizers] [--label LABEL]

Installs what is missing (toolchains/setup.sh), builds the release preset and runs all tests.
  --sanitizers   the same with AddressSanitizer and UndefinedBehaviorSanitizer, then with ThreadSanitizer
  --label LABEL  only tests with this ctest label (an expression; `ctest --print-labels` lists them)
EOF
}

presets=(release)
selection=()
while [ $# -gt 0 ]; do
  case "$1" in
    --sanitizers) presets=(asan tsan) ;;
    --label)
      [ $# -ge 2 ] || { usage >&2; exit 2; }
      selection=(-L "$2")
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) echo "error: unknown argument '$1'" >&2; usage >&2; exit 2 ;;
  esac
  shift
done

started=$SECONDS
step() { echo "== $* (after $((SECONDS - started)) s)"; }
# The log of a build is noise unless it fails.
quietly() {
  local log
  log=$(mktemp)
  if "$@" >"$log" 2>&1; then
    grep -E 'warning:' "$log" || true
    rm -f "$log"
  else
    tail -n 60 "$log" >&2
    rm -f "$log"
    echo "error: '$*' failed" >&2
    exit 1
  fi
}

toolchains/setup.sh
jobs=$(nproc)
failed=0
for preset in "${presets[@]}"; do
  step "building preset $preset with $jobs jobs"
  quietly cmake --preset "$preset" -DSPARSENET_TESTS=ON
  quietly cmake --build --preset "$preset" -j "$jobs"
  step "testing preset $preset"
  # Closes with ctest's own count of what passed and failed. No test at all is a failure.
  ctest --preset "$preset" --parallel 2 --output-on-failure --no-tests=error "${selection[@]}" </dev/null || failed=1
done
exit $failed
