"""Writes the files that the tests read: `python make.py`, needs numpy (made by 2.4)."""

import os

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))


def path(name):
    return os.path.join(HERE, name)


def array(name, values, version=None):
    with open(path(name), "wb") as file:
        numpy.lib.format.write_array(file, values, version=version, allow_pickle=True)


# Four images of 2 rows, 5 columns and 3 channels: each value is twice its place.
nhwc = (2 * numpy.arange(4 * 2 * 5 * 3)).astype(numpy.uint8).reshape(4, 2, 5, 3)
nchw = numpy.ascontiguousarray(nhwc.transpose(0, 3, 1, 2))
labels = numpy.array([2, 0, 1, 2])

# Archives: names of every kind, stored and deflated.
numpy.savez(path("named.npz"), images=nhwc, labels=labels)
numpy.savez(path("positional.npz"), nchw, labels)
floats = (nchw / 255).astype(numpy.float32)
numpy.savez_compressed(path("deflated.npz"), x_test=floats, y_test=labels[:, None].astype(numpy.uint8), note=labels)
grey = nhwc[..., 0]
numpy.savez_compressed(path("splits.npz"), x_train=grey[:3], y_train=[0, 4, 1], x_test=grey[3:], y_test=[2])

# Arrays of images: versions, byte orders, layouts and order of the axes.
array("version-2.npy", nhwc, (2, 0))
array("version-3.npy", nhwc, (3, 0))
array("f4-big.npy", (nchw / 255).astype(">f4"))
array("f8.npy", nhwc / 255)
array("fortran.npy", numpy.asfortranarray(nhwc / 255))
array("fortran-bytes.npy", numpy.asfortranarray(nchw))

# Labels of other types.
array("labels-i4-big.npy", labels.astype(">i4"))
array("labels-i1.npy", labels.astype(numpy.int8))
array("labels-u8-big.npy", labels.astype(">u8"))

# What is refused.
array("object.npy", labels.astype(object))
array("float-labels.npy", labels.astype(numpy.float32))
array("one-hot.npy", numpy.eye(3, dtype=numpy.int64)[labels])
array("negative.npy", numpy.array([2, 0, -1, 2]))
array("huge-label.npy", numpy.array([2, 0, 2**40, 2]))
array("ambiguous.npy", numpy.zeros((4, 3, 2, 3), numpy.uint8))
array("alpha.npy", numpy.zeros((4, 2, 5, 4), numpy.uint8))
array("flat.npy", nhwc.reshape(4, 30))
array("int-images.npy", nhwc.astype(numpy.int64))
bad = floats.copy()
bad[1, 2, 0, 3] = numpy.nan
array("nan.npy", bad)
bad[1, 2, 0, 3] = -1.5
array("normalised.npy", bad)

# Two values between multiples of 1/255.
fine = floats.copy()
fine[1, 2, 0, 3:] = [0.123, 0.1235]
array("between.npy", fine)
