"""What the scripts that run other libraries' attacks share: the images in this repository, and the libraries.

Needs torch, numpy, torchattacks 3.5.1, foolbox 3.3.4 and adv-lib 0.2.8. adv-lib's plots need visdom; a stand-in serves
where it is missing.
"""

import gzip
import math
import sys
import types
from pathlib import Path

import numpy
import torch
from torch import nn

try:
    import visdom  # noqa: F401
except ImportError:
    sys.modules["visdom"] = types.ModuleType("visdom")
    sys.modules["visdom"].Visdom = object

import torchattacks
from foolbox import PyTorchModel
from foolbox.criteria import Misclassification

EMBEDDED = Path(__file__).resolve().parents[3] / "plugins/dataset-idx/embedded"


def embedded(split):
    """Bytes [n, 28, 28] and labels [n] of the embedded part of Fashion-MNIST: "train" or "test"."""
    files = sorted(EMBEDDED.glob(f"{split}-images*.gz"))
    pixels = [numpy.frombuffer(gzip.open(file).read(), numpy.uint8, offset=16) for file in files]
    labels = numpy.frombuffer(gzip.open(EMBEDDED / f"{split}-labels.gz").read(), numpy.uint8, offset=8)
    return numpy.concatenate(pixels).reshape(len(labels), 28, 28), labels


def spread(n, of):
    """`n` indices, spread evenly."""
    return [i * of // n for i in range(n)]


class MendedCW(torchattacks.CW):
    """torchattacks' CW without two faults: to see what they cost."""

    def inverse_tanh_space(self, x):
        # At 0 and 1 the variable was infinite, and its gradient 0.
        return torch.atanh((x * 2 - 1) * 0.999999)

    def f(self, outputs, labels):
        # A mask of zeros made 0 the largest of negative logits, and `real` 0 where it was negative.
        own = nn.functional.one_hot(labels, outputs.shape[1]).bool()
        real, other = outputs[own], outputs.masked_fill(own, -math.inf).max(1)[0]
        return torch.clamp(real - other, min=-self.kappa)


def of_foolbox(attack, **epsilon):
    return lambda net, x, y: attack.run(PyTorchModel(net, bounds=(0, 1), device="cpu"), x, Misclassification(y), **epsilon)


def of_torchattacks(attack, **parameters):
    return lambda net, x, y: attack(net, **parameters)(x, y)


def of_adv_lib(attack, **parameters):
    return lambda net, x, y: attack(net, x, y, **parameters)
