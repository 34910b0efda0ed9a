"""Images for the networks: Fashion-MNIST from this repository, as it is and in colour."""

import numpy
import torch
from common import embedded, spread

from networks import COLOURED, GREY


def coloured(pixels, seed):
    """Bytes [n, 3, 16, 16]: half the size, each in a colour of its own, before another one that fades to one side."""
    rng, n = numpy.random.default_rng(seed), len(pixels)
    small = pixels.reshape(n, 14, 2, 14, 2).mean((2, 4)) / 255
    mask = numpy.pad(small, ((0, 0), (1, 1), (1, 1)))[:, None]
    front, back = rng.uniform(0.5, 1, (n, 3, 1, 1)), rng.uniform(0, 0.5, (n, 3, 1, 1))
    across = numpy.linspace(-1, 1, 16)
    angle = rng.uniform(0, 2 * numpy.pi, (n, 1, 1))
    fade = (numpy.cos(angle) * across[:, None] + numpy.sin(angle) * across[None])[:, None]
    image = mask * front + (1 - mask) * back * (1 + 0.5 * fade)
    return (image.clip(0, 1) * 255).round().astype(numpy.uint8)


def of_shape(shape, split, n=None):
    """Bytes and labels of a split, or of `n` images spread evenly over it."""
    pixels, labels = embedded(split)
    chosen = numpy.array(spread(n or len(labels), len(labels)))
    pixels, labels = pixels[chosen], labels[chosen]
    pixels = {GREY: lambda: pixels[:, None].copy(), COLOURED: lambda: coloured(pixels, len(split))}[shape]()
    return torch.from_numpy(pixels), torch.from_numpy(labels.astype(numpy.int64))


def in_unit(pixels):
    """As temper reads them: f32 in [0, 1]."""
    return pixels.float() / 255
