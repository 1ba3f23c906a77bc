#!/usr/bin/env bash
# Plans and runs networks on real images: a network trained by this engine, and networks trained elsewhere and
# converted. Works from a clean clone on a machine with nothing installed: ./demo.sh (installs what is missing through
# apt, builds, then shows).
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
# Prints a command as one would type it, then runs it.
show() {
  printf '\n$ %s\n' "$*"
  "$@"
}

echo "building (log in $log) ..."
if ! { cmake --preset release && cmake --build --preset release -j "$(nproc)" --target sparsenet_cli sparsenet-convert sparsenet-finetune; } \
  >"$log" 2>&1; then
  tail -n 40 "$log" >&2
  echo "error: the build failed, see $log" >&2
  exit 1
fi
convert=$bin/sparsenet-convert
sparsenet=$bin/sparsenet
labels=models/sources/cifar10-labels.txt
images=(samples/*.png)

title "1. Trained by this engine: SparseNet-abc-v0, 86,954 parameters, 8.24 % error on CIFAR-10's test images (docs/models.md)"
own=models/sparsenet-abc-v0.snet
show $sparsenet info $own --plan-svg $out/sparsenet-abc-v0-plan.svg
show $sparsenet classify $own "${images[@]}" --top 2
show $sparsenet bench $own --runs 500

title "2. Weights from PyTorch into the same network: 10.86 % error"
show $convert models/sources/sparsenet-abc-v0-cifar10.pth --arch sparsenet-abc-v0 --labels $labels \
  --mean 125.3,123.0,113.9 --std 63.0,62.1,66.7 --test-vectors 2 -o $out/sparsenet-abc-v0-pytorch.snet
show $sparsenet classify $out/sparsenet-abc-v0-pytorch.snet "${images[@]}" --top 1

title "3. A graph from TensorFlow Lite: the ResNet8 of MLPerf Tiny"
show $convert models/sources/mlperf-tiny-resnet8.tflite --labels $labels --test-vectors 2 -o $out/mlperf-tiny-resnet8.snet
show $sparsenet info $out/mlperf-tiny-resnet8.snet
show $sparsenet classify $out/mlperf-tiny-resnet8.snet "${images[@]}" --top 1
show $sparsenet bench $out/mlperf-tiny-resnet8.snet --runs 500

title "4. Does a file give the same answers on this machine as where it was made?"
show $sparsenet verify $own
show $sparsenet verify $out/sparsenet-abc-v0-pytorch.snet
show $sparsenet verify $out/mlperf-tiny-resnet8.snet

title "5. Learning on the device: the last layer anew, for three kinds of pattern that are drawn in memory"
show $bin/sparsenet-finetune $own

title "6. A larger one of the family, trained by this engine too: 860,698 parameters, 5.84 % error"
larger=models/sparsenet-abc-v1.snet
show $sparsenet classify $larger "${images[@]}" --top 1
show $sparsenet bench $larger --runs 200

title "7. The first one in 8-bit integers: a quarter of the memory, and the same bits on every machine"
small=models/sparsenet-abc-v0-int8.snet
show ls -l $own $small
show $sparsenet classify $small "${images[@]}" --top 1
show $sparsenet bench $own --threads 1 --runs 500
show $sparsenet bench $small --threads 1 --runs 500

# Shows more if there is a folder with further networks and the data set, which the tests use too.
more=${SPARSENET_SHARED:-../shared}/models/akamaster-resnet20/resnet20-12fca82f.th
data=${SPARSENET_SHARED:-../shared}/data/cifar10
if [ -e "$more" ]; then
  title "8. From the folder of further networks: ResNet20 by akamaster, in PyTorch's older file format"
  show $convert $more --arch resnet20 --labels $labels --mean 123.675,116.28,103.53 --std 58.395,57.12,57.375 \
    -o $out/resnet20.snet
  show $sparsenet bench $out/resnet20.snet --runs 500
  if [ -e $data/test_batch.bin ]; then
    for network in $own $small $larger $out/sparsenet-abc-v0-pytorch.snet $out/mlperf-tiny-resnet8.snet $out/resnet20.snet; do
      show $sparsenet eval $network --data cifar10:$data
    done
  fi
fi

title "The converted networks are in $out, the programs in $bin; a picture of the first one's memory plan is"
echo "$out/sparsenet-abc-v0-plan.svg. Next: $sparsenet --help, docs/, ./test.sh"
