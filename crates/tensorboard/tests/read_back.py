"""Prints what TensorBoard reads in a folder of event files. Needs tensorboard.

    cargo run -p temper-tensorboard --example write -- FOLDER
    python crates/tensorboard/tests/read_back.py FOLDER

Run with tensorboard 2.21.0 (protobuf 7.36.2, numpy 2.4.6, Python 3.11): version 2; `loss/train` at steps 0 to 3 with 1,
0.5, 0.333333, nan; `radii` at steps 0 to 2 with 61 values each, from 0 to 0 in one bucket, from 0 to 0.235294 and from
0 to 0.470588 in 30 buckets of 2 values and 3 in the last; `images/adversarial` at step 3 with 3 x 2 pixels and 83
bytes. TensorBoard's server showed the same values. When a new file replaced the old one while it ran, it showed the new
one; with `--load_fast=false` it kept showing the old one.
"""

import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

# 0 keeps all events of a kind.
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "histograms": 0, "images": 0})
events.Reload()
print(f"version {events.file_version}, first event at {events.FirstEventTimestamp():.0f}")
for tag in events.Tags()["scalars"]:
    for event in events.Scalars(tag):
        print(f"scalar {tag}, step {event.step}: {event.value:g}")
for tag in events.Tags()["histograms"]:
    for event in events.Histograms(tag):
        h = event.histogram_value
        print(f"histogram {tag}, step {event.step}: {h.num:g} values from {h.min:g} to {h.max:g}, sum {h.sum:g}, "
              f"of squares {h.sum_squares:g}")
        print("  limits", *(f"{limit:.4g}" for limit in h.bucket_limit))
        print("  counts", *(f"{count:g}" for count in h.bucket))
for tag in events.Tags()["images"]:
    for event in events.Images(tag):
        print(f"image {tag}, step {event.step}: {event.width} x {event.height}, "
              f"{len(event.encoded_image_string)} bytes, {event.encoded_image_string[:8]}")
