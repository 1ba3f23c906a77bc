#!/usr/bin/env bash
# Networks trained elsewhere, converted, planned and run on real images. From a clean clone on a machine that has
# nothing: ./demo.sh (installs what is missing through apt, builds, then shows).
set -euo pipefail
cd "$(dirname "$0")"

toolchains/setup.sh --without-cross

out=build/demo
bin=build/release/bin
log=build/demo.log
mkdir -p "$out"
rm -f "$out"/*.snet "$out"/*.svg "$out"/*.json

if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi
title() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }
# Shows a command as one would type it, then runs it.
show() {
  printf '\n$ %s\n' "$*"
  "$@"
}

echo "building (log in $log) ..."
if ! { cmake --preset release && cmake --build --preset release -j "$(nproc)" --target sparsenet_cli sparsenet-convert; } \
  >"$log" 2>&1; then
  tail -n 40 "$log" >&2
  echo "error: the build failed, see $log" >&2
  exit 1
fi
convert=$bin/sparsenet-convert
sparsenet=$bin/sparsenet
labels=models/sources/cifar10-labels.txt
images=(samples/*.png)

title "1. Weights from PyTorch: a SparseNet-abc-v0, 86,954 parameters, 89.14 % of CIFAR-10's test images right"
show $convert models/sources/sparsenet-abc-v0-cifar10.pth --arch sparsenet-abc-v0 --labels $labels \
  --mean 125.3,123.0,113.9 --std 63.0,62.1,66.7 --test-vectors 2 -o $out/sparsenet-abc-v0.snet
show $sparsenet info $out/sparsenet-abc-v0.snet --plan-svg $out/sparsenet-abc-v0-plan.svg
show $sparsenet classify $out/sparsenet-abc-v0.snet "${images[@]}" --top 2
show $sparsenet bench $out/sparsenet-abc-v0.snet --runs 500

title "2. A graph from TensorFlow Lite: the ResNet8 of MLPerf Tiny"
show $convert models/sources/mlperf-tiny-resnet8.tflite --labels $labels --test-vectors 2 -o $out/mlperf-tiny-resnet8.snet
show $sparsenet info $out/mlperf-tiny-resnet8.snet
show $sparsenet classify $out/mlperf-tiny-resnet8.snet "${images[@]}" --top 1
show $sparsenet bench $out/mlperf-tiny-resnet8.snet --runs 500

title "3. Does a file give the same answers on this machine as where it was made?"
show $sparsenet verify $out/sparsenet-abc-v0.snet
show $sparsenet verify $out/mlperf-tiny-resnet8.snet

title "4. A larger one of the family, with random weights: speed and memory"
show $sparsenet create sparsenet-abc-v1 -o $out/sparsenet-abc-v1.snet
show $sparsenet bench $out/sparsenet-abc-v1.snet --runs 200

# A developer's checkout may have a folder of further networks and the data set beside it.
more=../shared/models/akamaster-resnet20/resnet20-12fca82f.th
data=../shared/data/cifar10
if [ -e "$more" ]; then
  title "5. From the folder beside this one: ResNet20 by akamaster, in PyTorch's older file format"
  show $convert $more --arch resnet20 --labels $labels --mean 123.675,116.28,103.53 --std 58.395,57.12,57.375 \
    -o $out/resnet20.snet
  show $sparsenet bench $out/resnet20.snet --runs 500
  if [ -e $data/test_batch.bin ]; then
    for network in sparsenet-abc-v0 mlperf-tiny-resnet8 resnet20; do
      show $sparsenet eval $out/$network.snet --data cifar10:$data
    done
  fi
fi

title "The converted networks are in $out, the programs in $bin; a picture of the first one's memory plan is"
echo "$out/sparsenet-abc-v0-plan.svg. Next: $sparsenet --help, docs/, ./test.sh"
