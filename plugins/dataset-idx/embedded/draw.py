"""Draws the embedded sample of Fashion-MNIST from the official files.

The sample is 10,000 training and 2,000 test images, evenly over the ten
classes (1,000 and 200 of each), chosen without replacement by a fixed seed
and kept in the order of the official files.

Run it with the folder of the four official `.gz` files (needs numpy):

    python draw.py DIR_WITH_OFFICIAL_GZ_FILES

It writes five gzipped IDX files beside itself. The training images fill two,
5,000 in each, so that every tracked file stays under 4 MiB. The same input
gives the same bytes, as long as Python is built with the same zlib.
"""

import gzip
import struct
import sys
from pathlib import Path

import numpy

SEED = 0
CLASSES = 10
IMAGES_PER_FILE = 5_000
LABELS_MAGIC = 2049  # unsigned bytes, one dimension
IMAGES_MAGIC = 2051  # unsigned bytes, three dimensions


def read_idx(path):
    """The array of unsigned bytes in a gzipped IDX file."""
    data = gzip.decompress(path.read_bytes())
    (magic,) = struct.unpack(">I", data[:4])
    if magic not in (LABELS_MAGIC, IMAGES_MAGIC):
        raise SystemExit(f"{path.name}: unexpected magic number {magic}")
    dimensions = magic & 0xFF
    start = 4 + 4 * dimensions
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    return numpy.frombuffer(data, numpy.uint8, offset=start).reshape(shape)


def write_idx(path, array):
    """Writes labels (one dimension) or images (three) as a gzipped IDX file."""
    magic = {1: LABELS_MAGIC, 3: IMAGES_MAGIC}[array.ndim]
    header = struct.pack(f">{1 + array.ndim}I", magic, *array.shape)
    # No file name and no time in the gzip header: they would vary by run.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as out:
        out.write(header + array.tobytes())
    print(f"{path.name}: {array.shape}, {path.stat().st_size} bytes")


def draw(labels, per_class, rng):
    """Ascending indices of `per_class` examples of every class."""
    drawn = [
        rng.choice(numpy.flatnonzero(labels == label), per_class, replace=False)
        for label in range(CLASSES)
    ]
    return numpy.sort(numpy.concatenate(drawn))


def main(source, target):
    rng = numpy.random.default_rng(SEED)
    # The training images are drawn first: both draws share one generator.
    for name, official, per_class in [("train", "train", 1_000), ("test", "t10k", 200)]:
        images = read_idx(source / f"{official}-images-idx3-ubyte.gz")
        labels = read_idx(source / f"{official}-labels-idx1-ubyte.gz")
        indices = draw(labels, per_class, rng)
        write_idx(target / f"{name}-labels.gz", labels[indices])
        if len(indices) <= IMAGES_PER_FILE:
            write_idx(target / f"{name}-images.gz", images[indices])
            continue
        for part, start in enumerate(range(0, len(indices), IMAGES_PER_FILE)):
            chunk = indices[start : start + IMAGES_PER_FILE]
            write_idx(target / f"{name}-images-{part}.gz", images[chunk])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(__file__).resolve().parent)
