#!/usr/bin/env bash
# Builds the source distribution and the wheels of the Python package, for Python 3.11 and for 3.12 and later, on x86-64
# and 64-bit ARM, into python/dist. Runs on Debian 12 and later, with network; needs what toolchains/setup.sh installs.
#
#   python/wheels/build.sh [--arch x86_64 | --arch aarch64] [--python 3.11 | --python 3.13]
#
# The compiler is Zig's, from PyPI, for the C library 2.31 (manylinux_2_31). Libraries are linked statically: their sources
# are those of Debian's packages, fetched by apt into build/wheels/sources. Python's headers come from Debian's packages
# for the other machine.
set -euo pipefail
cd "$(dirname "$0")/../.."

arches=(x86_64 aarch64)
pythons=(3.11 3.13)
while [ $# -gt 0 ]; do
  case "$1" in
    --arch) arches=("${2-}") && shift ;;
    --python) pythons=("${2-}") && shift ;;
    *)
      sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
      exit 2
      ;;
  esac
  shift
done
libc=2.31
root=$PWD
work=$root/build/wheels
jobs=$(nproc)
started=$SECONDS
step() { echo "== $* (after $((SECONDS - started)) s)"; }
quietly() {
  local log=$work/last.log
  "$@" >"$log" 2>&1 || { tail -n 40 "$log" >&2; echo "error: '$*' failed" >&2; exit 1; }
}
mkdir -p "$work/sources" "$work/apt/lists/partial" "$work/apt/cache/archives/partial"

step "tools from PyPI"
if [ ! -x "$work/tools/bin/auditwheel" ]; then
  python3 -m venv "$work/tools"
  quietly "$work/tools/bin/pip" install -q -r python/wheels/requirements.txt
fi
python=$work/tools/bin/python
nanobind=$("$python" -m nanobind --cmake_dir)

# apt with lists of its own: sources of Debian 12, and Python's headers for any machine.
apt_get() {
  local arch=$1
  shift
  apt-get -q -y -o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State="$work/apt" \
    -o Dir::State::Lists="$work/apt/lists" -o Dir::State::status="$work/apt/status" -o Dir::Cache="$work/apt/cache" \
    -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o APT::Sandbox::User= -o Acquire::Retries=3 "$@"
}
debian=http://deb.debian.org/debian
key=/usr/share/keyrings/debian-archive-keyring.gpg
touch "$work/apt/status"
libraries="zlib libpng1.6 libjpeg-turbo libzip re2 protobuf"
if [ ! -e "$work/sources/fetched" ]; then
  step "sources of $libraries"
  echo "deb-src [signed-by=$key] $debian bookworm main" >"$work/apt/sources.list"
  quietly apt_get amd64 update
  (cd "$work/sources" && quietly apt_get amd64 source --download-only $libraries && touch fetched)
fi

# Unpacks Python's headers; prints their folder.
headers_of() {
  local arch=$1 version=$2 debian_arch suite=bookworm folder
  case "$arch" in x86_64) debian_arch=amd64 ;; aarch64) debian_arch=arm64 ;; esac
  [ "$version" = 3.11 ] || suite=trixie
  folder=$work/python$version-$arch
  if [ ! -d "$folder/usr/include/python$version" ]; then
    echo "deb [signed-by=$key] $debian $suite main" >"$work/apt/sources.list"
    quietly apt_get $debian_arch update
    (cd "$work" && quietly apt_get $debian_arch download "libpython$version-dev")
    dpkg -x "$work"/libpython"$version"-dev_*_$debian_arch.deb "$folder"
  fi
  echo "$folder/usr/include"
}

# zlib -> the folder with its sources, unpacked.
unpacked() {
  local name=$1 folder=$work/sources/$1
  if [ ! -d "$folder" ]; then
    mkdir -p "$folder"
    tar -xf "$work"/sources/"$name"_*.orig.tar.* -C "$folder" --strip-components 1
  fi
  echo "$folder"
}

# Debian makes RE2's tables from its own Unicode data.
make_re2_tables() {
  local tables
  tables=$(unpacked re2)/re2
  [ ! -e "$tables/unicode_casefold.cc" ] || return 0
  echo "deb [signed-by=$key] $debian bookworm main" >"$work/apt/sources.list"
  quietly apt_get amd64 update
  (cd "$work" && quietly apt_get amd64 download unicode-data && dpkg -x unicode-data_*.deb unicode)
  sed -i "s|^_UNICODE_DIR = .*|_UNICODE_DIR = '$work/unicode/usr/share/unicode'|" "$tables/unicode.py"
  (
    cd "$tables"
    perl make_perl_groups.pl >perl_groups.cc
    for table in unicode_groups unicode_casefold; do
      PYTHONPATH=.. "$python" "make_$table.py" >"$table.tmp"
      mv "$table.tmp" "$table.cc"
    done
  )
}

# Commands for CMake that compile for one machine.
make_compiler() {
  local arch=$1 bin=$work/$1/bin command
  mkdir -p "$bin"
  for command in cc c++; do
    printf '#!/bin/sh\nexec "%s" -m ziglang %s -target %s-linux-gnu.%s -fno-sanitize=all "$@"\n' "$python" $command "$arch" $libc >"$bin/$command"
  done
  for command in ar ranlib; do
    printf '#!/bin/sh\nexec "%s" -m ziglang %s "$@"\n' "$python" $command >"$bin/$command"
  done
  chmod +x "$bin"/*
}

build_libraries() {
  local arch=$1 prefix=$work/$1/prefix folder built
  [ ! -e "$prefix/complete" ] || return 0
  mkdir -p "$prefix/include" "$prefix/share/cmake"
  # configure NAME OPTIONS of cmake
  configure() {
    step "$arch: $1"
    folder=$(unpacked "$1")
    built=$work/$arch/$1
    shift
    quietly cmake -S "$folder" -B "$built" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$prefix" \
      -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DBUILD_SHARED_LIBS=OFF -DCMAKE_POLICY_VERSION_MINIMUM=3.5 \
      "${compiler[@]}" -DCMAKE_C_FLAGS=-fvisibility=hidden -DCMAKE_CXX_FLAGS=-fvisibility=hidden "$@"
  }
  library() {
    configure "$@"
    quietly cmake --build "$built" -j "$jobs"
    quietly cmake --install "$built"
  }
  # Debian leaves out the resources for Windows, which CMake wants to see.
  mkdir -p "$(unpacked zlib)/win32" && touch "$(unpacked zlib)/win32/zlib1.rc"
  configure zlib  # whose shared library needs another linker
  quietly cmake --build "$built" --target zlibstatic -j "$jobs"
  mkdir -p "$prefix/lib" && cp "$built/libz.a" "$prefix/lib/" && cp "$folder/zlib.h" "$built/zconf.h" "$prefix/include/"
  library libpng1.6 -DPNG_SHARED=OFF -DPNG_TESTS=OFF -DPNG_EXECUTABLES=OFF
  library libjpeg-turbo -DENABLE_SHARED=OFF -DWITH_TURBOJPEG=OFF -DWITH_SIMD=OFF
  cp "$built/libjpeg.a" "$prefix/lib/"
  library libzip -DENABLE_COMMONCRYPTO=OFF -DENABLE_GNUTLS=OFF -DENABLE_MBEDTLS=OFF -DENABLE_OPENSSL=OFF -DENABLE_BZIP2=OFF \
    -DENABLE_LZMA=OFF -DENABLE_ZSTD=OFF -DBUILD_TOOLS=OFF -DBUILD_REGRESS=OFF -DBUILD_EXAMPLES=OFF -DBUILD_DOC=OFF
  make_re2_tables
  library re2 -DRE2_BUILD_TESTING=OFF
  library protobuf -Dprotobuf_BUILD_TESTS=OFF -Dprotobuf_BUILD_PROTOC_BINARIES=OFF -Dprotobuf_WITH_ZLIB=OFF
  # Headers alone are the same for every machine.
  cp -r /usr/include/nlohmann /usr/include/CLI /usr/include/eigen3 /usr/include/flatbuffers /usr/include/CL "$prefix/include/"
  mkdir -p "$prefix/include/onnx"
  cp /usr/include/onnx/onnx.proto "$prefix/include/onnx/"
  cp -r /usr/share/cmake/nlohmann_json /usr/share/cmake/CLI11 "$prefix/share/cmake/"
  touch "$prefix/complete"
}

step "source distribution"
rm -rf "$work/sdist"
mkdir -p "$work/sdist/source" python/dist
git ls-files python | sed 's/^python.//' | tar -c -C python -T - | tar -x -C "$work/sdist"
git ls-files CMakeLists.txt CMakePresets.json LICENSE schemas engine converter io apps toolchains models/sparsenet-abc-v0.snet |
  tar -c -T - | tar -x -C "$work/sdist/source"
cp LICENSE "$work/sdist/"
rm -f python/dist/*.tar.gz
quietly "$python" -m build --sdist --no-isolation --outdir python/dist "$work/sdist"

for arch in "${arches[@]}"; do
  make_compiler "$arch"
  compiler=(-DCMAKE_TOOLCHAIN_FILE="$root/python/wheels/zig.cmake" -DSPARSENET_ZIG_BIN="$work/$arch/bin"
    -DSPARSENET_ZIG_ARCH="$arch" -DSPARSENET_ZIG_PREFIX="$work/$arch/prefix")
  build_libraries "$arch"
  for version in "${pythons[@]}"; do
    include=$(headers_of "$arch" "$version")
    step "$arch: the package for Python $version"
    build=$work/$arch/package
    # One build folder for all versions: only the module itself differs.
    quietly cmake -S python -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release "${compiler[@]}" \
      -Dnanobind_ROOT="$nanobind" -Dnanobind_DIR="$nanobind" -DSPARSENET_PYTHON_INCLUDE="$include" \
      -DSPARSENET_PYTHON_VERSION="$version" -DProtobuf_USE_STATIC_LIBS=ON -DPNG_PNG_INCLUDE_DIR="$work/$arch/prefix/include"
    quietly cmake --build "$build" --target sparsenet_python_package -j "$jobs"
    rm -rf "$work/$arch/install"
    quietly cmake --install "$build" --component python --prefix "$work/$arch/install" --strip
    "$python" python/wheels/assemble.py --python "$version" --arch "$arch" --libc $libc --package "$work/$arch/install/sparsenet" \
      --output python/dist
  done
done
step "done"
ls -l python/dist
