#!/usr/bin/env bash
# Installs the packages that a complete build needs, if they are missing, through apt. Asks no questions, can be run
# again at any time, and does not use the network if everything is installed. Needs root or sudo only if there is
# something to install. Tested on Debian 12 and 13, the cross packages only on Debian 12; also written for Ubuntu 22.04
# and 24.04, where packages have the same names, but not tested there.
#
#   toolchains/setup.sh [--without-cross | --without-linux-cross] [--with-fuzz] [--list]
#     --without-cross        no compilers and emulators for other machines (590 MB to fetch, 3.2 GB on disk)
#     --without-linux-cross  of those, only what boards need (430 MB to fetch, 2.5 GB on disk)
#     --with-fuzz            also clang and libFuzzer, for preset fuzz (tests/fuzz/fuzz.sh)
#     --list                 only print the names of the packages
set -euo pipefail

# name of the package    what it is for
needs="
g++                      compiler with OpenMP
cmake                    build
ninja-build              build
pkg-config               build, test of the installed package
libdnnl-dev              engine: oneDNN backend
libflatbuffers-dev       engine: model file
flatbuffers-compiler     engine: model file
libonnx-dev              converter: only the schema onnx.proto
libprotobuf-dev          converter: ONNX
protobuf-compiler        converter: ONNX
libzip-dev               converter: .pth and .npz
zlib1g-dev               converter: .npz; command line: SVHN's .mat files
libhdf5-dev              converter: Keras files
libre2-dev               converter: the rules of --map
nlohmann-json3-dev       converter and command line: JSON
libcli11-dev             converter and command line: options
libeigen3-dev            converter and tests: matrix products
libpng-dev               command line: images
libjpeg-dev              command line: images
doctest-dev              tests
python3-dev              Python package: headers
python3-venv             Python package: environments for building and testing it
opencl-headers           plugin opencl
ocl-icd-opencl-dev       tests of the plugins: the library that finds OpenCL devices
pocl-opencl-icd          tests of the plugins: an OpenCL device on the CPU
"
linux_cross_needs="
g++-aarch64-linux-gnu    preset aarch64
g++-arm-linux-gnueabihf  preset armhf
g++-riscv64-linux-gnu    preset riscv64
qemu-user                their tests
"
board_needs="
gcc-arm-none-eabi        presets cortex-m7, cortex-m4, cortex-m55
libstdc++-arm-none-eabi-newlib  presets cortex-m7, cortex-m4, cortex-m55
qemu-system-arm          their firmware
"

fuzz_needs="
clang                    preset fuzz
libclang-rt-dev          preset fuzz: libFuzzer and sanitizers
"

say() { echo "setup: $*"; }
fail() {
  echo "setup: error: $1" >&2
  shift
  for line in "$@"; do echo "setup:   $line" >&2; done
  exit 1
}

linux_cross=yes
boards=yes
fuzz=no
list=no
for argument in "$@"; do
  case "$argument" in
    --without-cross) linux_cross=no boards=no ;;
    --without-linux-cross) linux_cross=no ;;
    --with-fuzz) fuzz=yes ;;
    --list) list=yes ;;
    *)
      fail "unknown argument '$argument'" \
        "usage: toolchains/setup.sh [--without-cross | --without-linux-cross] [--with-fuzz] [--list]"
      ;;
  esac
done
if [ $linux_cross = yes ]; then needs+=$linux_cross_needs; fi
if [ $boards = yes ]; then needs+=$board_needs; fi
if [ $fuzz = yes ]; then needs+=$fuzz_needs; fi
packages=()
while read -r package _; do
  if [ -n "$package" ]; then packages+=("$package"); fi
done <<<"$needs"
if [ $list = yes ]; then
  printf '%s\n' "${packages[@]}"
  exit 0
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  fail "this system has no apt; install these in another way and build with cmake --preset release:" \
    "a C++17 compiler with OpenMP, CMake >= 3.22, Ninja, pkg-config, oneDNN >= 2.6, Eigen 3.4, FlatBuffers with flatc," \
    "protobuf with protoc, onnx.proto (from the ONNX project), libzip, zlib, libhdf5, RE2, nlohmann-json >= 3.10, CLI11 >= 2.1," \
    "libpng, libjpeg(-turbo), doctest >= 2.4, Python >= 3.11 with headers." \
    "The library alone needs only the compiler, CMake and FlatBuffers: cmake --preset minimal."
fi

# A single query for all packages: this is all that a second run costs.
installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null | sed -n 's/ installed$//p' || true)
missing=()
for package in "${packages[@]}"; do
  grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  say "all ${#packages[@]} packages are installed"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || fail "not root and no sudo; ask an administrator to run" \
    "apt-get update && apt-get install --no-install-recommends ${missing[*]}"
  as_root=(sudo)
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# stdin is closed and the front end is non-interactive, so that no package can stop to ask. The lock is waited for,
# because a new cloud machine often updates itself in the background.
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -q -y -o DPkg::Lock::Timeout=300 \
    -o Acquire::Retries=3 "$@" </dev/null >"$log" 2>&1
}

say "installing ${#missing[@]} of ${#packages[@]} packages with apt: ${missing[*]}"
lists=fresh
apt update || {
  lists=old
  say "apt-get update failed, trying with the present package lists ($(tail -n 1 "$log"))"
}

available=$(LC_ALL=C apt-cache policy "${missing[@]}" 2>/dev/null |
  awk '/^[^ ].*:$/ { name = substr($0, 1, length($0) - 1) } /^ +Candidate: [^(]/ { print name }')
known=()
unknown=()
for package in "${missing[@]}"; do
  if grep -qxF -- "$package" <<<"$available"; then known+=("$package"); else unknown+=("$package"); fi
done
if [ ${#unknown[@]} -gt 0 ]; then
  system=$(. /etc/os-release 2>/dev/null && echo "${PRETTY_NAME-this system}")
  if [ $lists = old ]; then
    fail "not installed and not in apt's lists, which could not be brought up to date: ${unknown[*]}"
  fi
  # Not fatal: with a manual installation the build works; without one CMake reports what is missing.
  say "warning: $system does not offer ${unknown[*]}; install it by hand (on Ubuntu, enable 'universe' first)," \
    "or build the library alone: cmake --preset minimal (packages of a cross preset are needed by that preset alone)"
fi

if [ ${#known[@]} -eq 0 ]; then exit 0; fi
apt install --no-install-recommends "${known[@]}" || {
  tail -n 20 "$log" >&2
  fail "apt-get install failed (its last lines are shown above)"
}
say "done"
