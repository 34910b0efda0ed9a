#!/bin/sh
# Runs targets one after the other, each for so many minutes of the processor: sh fuzz/all.sh MINUTES [TARGET...]
# What a target printed is in fuzz/logs/TARGET, what it found in fuzz/artifacts/TARGET; targets that found something
# are named at the end.
set -eu
cd "$(dirname "$0")"
minutes=${1:?minutes for each target}
shift
[ $# -gt 0 ] || set -- onnx pth npz npy jpeg png idx cifar safetensors toml csv imagenet records
python3 seeds.py
# RUSTC_BOOTSTRAP=1 lets a stable compiler take cargo-fuzz's flags.
RUSTC_BOOTSTRAP=1 cargo fuzz build --sanitizer none
built=target/$(rustc -vV | sed -n 's/^host: //p')/release
folder=$(mktemp -d "${TMPDIR:-/dev/shm}/temper-fuzz-XXXXXX")
trap 'rm -rf "$folder"' EXIT
mkdir -p logs
found=
for target in "$@"; do
    mkdir -p "artifacts/$target" "corpus/$target"
    # Other work may hold the processor, so -timeout is generous: a reader that takes more than a second of processor
    # time fails by the target's own clock.
    TMPDIR="$folder" RAYON_NUM_THREADS=1 "$built/$target" "corpus/$target" -artifact_prefix="artifacts/$target/" \
        -timeout=300 -rss_limit_mb=2048 -max_len=32768 -print_final_stats=1 2>"logs/$target" &
    process=$!
    used=0
    while now=$(ps -o cputimes= -p $process); do
        used=$now
        [ "$used" -lt $((60 * minutes)) ] || break
        sleep 5
    done
    # libFuzzer ends at SIGTERM with its statistics and exit status 72.
    kill -TERM $process 2>/dev/null || true
    status=0
    wait $process || status=$?
    [ $status -eq 72 ] || found="$found $target"
    echo "$target: $((used / 60)) minutes, $(sed -n 's/^stat::number_of_executed_units: *//p' "logs/$target") inputs, status $status"
done
[ -z "$found" ] || { echo "found something:$found"; exit 1; }
