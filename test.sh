#!/usr/bin/env bash
# Builds everything and runs every test. Works from a clean clone on a machine with nothing installed: ./test.sh
set -euo pipefail
cd "$(dirname "$0")"

usage() {
  cat <<'EOF'
usage: ./test.sh [--without-cross | --without-linux-cross] [--quick-plugins] [--quick-sanitizers] [--fuzz SECONDS]
                 [--strict] [--sanitizers] [--label LABEL]

Installs missing packages (toolchains/setup.sh), builds the release preset and runs all tests. Then cross-compiles for
other machines and runs the tests that are meaningful there in emulators.
  --without-cross        no cross builds; their tools are not installed either
  --without-linux-cross  of the cross builds, only those for boards
  --quick-plugins        of the suites for plugins and for Python, only those that take at most a minute
  --quick-sanitizers     also run the quick suites with AddressSanitizer and UndefinedBehaviorSanitizer, once with the
                         widest vectors of this CPU and once with AVX2
  --fuzz SECONDS         also fuzz all parsers, for this long in total (tests/fuzz/fuzz.sh; installs clang)
  --strict               fail if something has to be left out because a program is missing
  --sanitizers           instead, run all tests with AddressSanitizer and UndefinedBehaviorSanitizer, then with
                         ThreadSanitizer
  --label LABEL          only tests with this ctest label (a regular expression; `ctest --print-labels` lists them)
EOF
}

presets=(release)
cross_presets=(aarch64 armhf riscv64)
firmware_presets=(cortex-m7 cortex-m7-f16 cortex-m4 cortex-m55)
setup_options=()
selection=()
quick_sanitizers=no
left_out=()
fuzz_seconds=0
strict=no
while [ $# -gt 0 ]; do
  case "$1" in
    --without-cross) cross_presets=() firmware_presets=() setup_options=(--without-cross) ;;
    --without-linux-cross) cross_presets=() setup_options=(--without-linux-cross) ;;
    --quick-plugins) left_out=(-LE 'long-plugins|long-python') ;;
    --quick-sanitizers) quick_sanitizers=yes ;;
    --fuzz)
      [[ ${2-} =~ ^[1-9][0-9]*$ ]] || { echo "error: --fuzz needs a number of seconds, found '${2-}'" >&2; exit 2; }
      fuzz_seconds=$2
      shift
      ;;
    --strict) strict=yes ;;
    --sanitizers) presets=(asan tsan) cross_presets=() firmware_presets=() setup_options=(--without-cross) ;;
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
# Shows the log of a build only if it fails.
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

# The programs that a preset for another machine needs in addition to those of the release preset.
programs_of() {
  case "$1" in
    aarch64) echo aarch64-linux-gnu-g++ qemu-aarch64 ;;
    armhf) echo arm-linux-gnueabihf-g++ qemu-arm ;;
    riscv64) echo riscv64-linux-gnu-g++ qemu-riscv64 ;;
    cortex-*) echo arm-none-eabi-g++ qemu-system-arm ;;
  esac
}
# Fails, with a message, if a program is missing.
can_do() {
  local program missing=()
  for program in $(programs_of "$1"); do
    command -v "$program" >/dev/null || missing+=("$program")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  step "LEFT OUT: preset $1, because ${missing[*]} is missing"
  [ $strict = no ] || failed=1
  return 1
}

# The environment of the Python package's tests, made anew if what it needs has changed; fails, with a message, if there
# can be none. What comes from PyPI is left out where PyPI cannot be reached.
python_environment=build/python-tests
prepare_python() {
  local wanted=python/tests/requirements.txt log reason=
  cmp -s "$wanted" "$python_environment/requirements.txt" && return
  step "preparing Python's environment in $python_environment"
  log=$(mktemp)
  rm -rf "$python_environment"
  if ! python3 -c 'import pathlib, sys, sysconfig
sys.exit(sys.version_info < (3, 11) or not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' 2>/dev/null; then
    reason="there is no Python 3.11 or later with headers"
    [ $strict = no ] || failed=1
  elif ! python3 -m venv "$python_environment" >"$log" 2>&1; then
    reason="python3 -m venv failed: $(tail -n 1 "$log")"
    [ $strict = no ] || failed=1
  elif ! "$python_environment/bin/pip" --disable-pip-version-check -q install -r "$wanted" >"$log" 2>&1; then
    reason="pip could not install $wanted: $(tail -n 1 "$log")"
  fi
  rm -f "$log"
  if [ -n "$reason" ]; then
    step "LEFT OUT: the Python package, because $reason"
    return 1
  fi
  cp "$wanted" "$python_environment/"
}

[ "$fuzz_seconds" -eq 0 ] || setup_options+=(--with-fuzz)
toolchains/setup.sh "${setup_options[@]}"
jobs=$(nproc)
failed=0
# build PRESET [OPTIONS of cmake] [-- OPTIONS of the build]
build() {
  local preset=$1 options=()
  shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
  [ $# -eq 0 ] || shift
  step "building preset $preset with $jobs jobs"
  quietly cmake --preset "$preset" "${options[@]}"
  quietly cmake --build --preset "$preset" -j "$jobs" "$@"
}
for preset in "${presets[@]}"; do
  options=(-DSPARSENET_TESTS=ON -DSPARSENET_PYTHON=OFF)
  if [ "$preset" = release ] && prepare_python; then
    options+=(-DSPARSENET_PYTHON=ON "-DPython_EXECUTABLE=$PWD/$python_environment/bin/python")
  fi
  build "$preset" "${options[@]}"
  step "testing preset $preset"
  # Ends with ctest's own count of passed and failed tests. Running no test at all is a failure.
  ctest --preset "$preset" --parallel 2 --output-on-failure --no-tests=error "${selection[@]}" "${left_out[@]}" \
    </dev/null || failed=1
done
# The quick suites (tests/unit/CMakeLists.txt) in one sanitized build of the library, the converter and the unit tests.
# Those that run vector kernels are repeated with AVX2 if the first run used wider vectors.
if [ $quick_sanitizers = yes ]; then
  build asan -DSPARSENET_TESTS=ON -- --target unit_tests
  export SPARSENET_TEST_EFFORT=${SPARSENET_TEST_EFFORT-0.2}
  step "testing preset asan, quick suites"
  ctest --preset asan --parallel 2 --output-on-failure --no-tests=error -L quick </dev/null || failed=1
  if grep -qw avx512f /proc/cpuinfo 2>/dev/null; then
    step "testing preset asan, quick suites with AVX2"
    SPARSENET_ISA=avx2 ctest --preset asan --parallel 2 --output-on-failure --no-tests=error -L quick-kernels </dev/null ||
      failed=1
  fi
  unset SPARSENET_TEST_EFFORT
fi
if [ "$fuzz_seconds" -gt 0 ]; then
  step "building preset fuzz, then fuzzing for $fuzz_seconds s"
  tests/fuzz/fuzz.sh --seconds "$fuzz_seconds" </dev/null || failed=1
fi
# Builds for other machines need not have tests with the given label.
no_tests=error
[ ${#selection[@]} -eq 0 ] || no_tests=ignore
for preset in "${cross_presets[@]}"; do
  can_do "$preset" || continue
  build "$preset"
  step "testing preset $preset in an emulator"
  ctest --preset "$preset" --parallel 2 --output-on-failure --no-tests=$no_tests "${selection[@]}" </dev/null || failed=1
done
for preset in "${firmware_presets[@]}"; do
  can_do "$preset" || continue
  build "$preset"
  step "checking preset $preset in an emulator"
  cmake --build --preset "$preset" --target check </dev/null || { echo "error: the firmware of $preset failed" >&2; failed=1; }
done
step "done"
exit $failed
