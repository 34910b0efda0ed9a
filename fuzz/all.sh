#!/bin/sh
# Runs targets one after the other, each for so many minutes: sh fuzz/all.sh MINUTES [TARGET...]
# What they find lies in fuzz/artifacts/TARGET, and is told again at the end.
set -eu
cd "$(dirname "$0")"
minutes=${1:?minutes for each target}
shift
[ $# -gt 0 ] || set -- onnx pth npz npy jpeg png idx cifar safetensors toml csv imagenet records
python3 seeds.py
found=
folder=$(mktemp -d "${TMPDIR:-/dev/shm}/temper-fuzz-XXXXXX")
trap 'rm -rf "$folder"' EXIT
for target in "$@"; do
    # RUSTC_BOOTSTRAP=1 lets a stable compiler take cargo-fuzz's flags.
    TMPDIR="$folder" RUSTC_BOOTSTRAP=1 RAYON_NUM_THREADS=1 cargo fuzz run "$target" --sanitizer none -- \
        -max_total_time=$((60 * minutes)) -timeout=10 -rss_limit_mb=2048 -max_len=32768 \
        -print_final_stats=1 || found="$found $target"
done
[ -z "$found" ] || { echo "found something:$found"; exit 1; }
