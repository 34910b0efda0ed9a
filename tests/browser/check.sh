#!/bin/sh
# Makes a report of each kind, in seconds, and checks them in headless Chromium: sh tests/browser/check.sh
# Needs chromedriver and Chromium (Debian: chromium, chromium-driver).
set -eu
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
temper() { cargo run --quiet --locked --package temper-runner -- "$@" >"$folder/said" 2>&1 || { cat "$folder/said"; exit 1; }; }
temper run tests/browser/pipeline.toml --out "$folder/run"
temper run tests/browser/pipeline.toml --out "$folder/other" --set seed=1 --set 'train.epsilon={ fixed = { radius = 0.1 } }'
temper attack "$folder/run" --attack fgsm --attack 'pgd = { steps = 3, step = 0.05 }' --eps 0.1 --samples 40 \
    --save "$folder/attack"
temper transfer "$folder/run" "$folder/other" --attack fgsm --eps 0.1 --samples 40 --save "$folder/matrix.json"
temper report "$folder/matrix.json"
temper report "$folder/run" "$folder/other" "$folder/attack" --out "$folder/several.html"
cp -r reports/cpu "$folder/tables"
temper report "$folder/tables"
python3 tests/browser/check.py "$folder/run/report.html" "$folder/attack/report.html" "$folder/matrix.html" \
    "$folder/several.html" "$folder/tables/report.html"
