"""Makes layers.safetensors: small networks as PyTorch computes them.

For each case the file holds a network's weights, a batch of six images with
labels, and the logits, mean cross-entropy loss and gradients that PyTorch
gives, all in float64 (labels in int64). The keys are:

    CASE/pixels, CASE/labels      the batch; pixels lie in [0, 1]
    CASE/weights/NAME             parameters and buffers, before the forward
    CASE/logits, CASE/loss        the outputs; the loss has shape [1]
    CASE/gradients/pixels         gradients of the loss
    CASE/gradients/NAME
    CASE/after/NAME               batch-norm buffers after a training forward

Batch norm has PyTorch's defaults: epsilon 1e-5, momentum 0.1 (the weight of
the new value), and an unbiased variance in the running one. Run it with torch
and safetensors installed: `python layers.py`. It writes beside itself, with
the version of torch in the file's metadata.
"""

import copy
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F


class Normalise(nn.Module):
    """(pixels - mean) / deviation, as the first layer of a network."""

    def __init__(self, mean, deviation):
        super().__init__()
        self.mean, self.deviation = mean, deviation

    def forward(self, pixels):
        return (pixels - self.mean) / self.deviation


def network(**layers):
    return nn.Sequential(OrderedDict(layers))


def record(case, net, shape):
    """The tensors of one case, in the mode that `net` is in."""
    pixels = torch.rand(6, *shape, requires_grad=True)
    labels = torch.randint(net[-1].out_features, (6,))
    weights = tensors(net)
    logits = net(pixels)
    loss = F.cross_entropy(logits, labels)
    loss.backward()

    golden = {"pixels": pixels, "labels": labels, "logits": logits, "loss": loss.reshape(1)}
    golden |= {f"weights/{name}": tensor for name, tensor in weights.items()}
    golden |= {"gradients/pixels": pixels.grad}
    golden |= {f"gradients/{name}": tensor.grad for name, tensor in net.named_parameters()}
    if net.training:
        golden |= {f"after/{name}": after for name, after in tensors(net).items() if "running" in name}
    return {f"{case}/{key}": tensor.detach().clone() for key, tensor in golden.items()}


def tensors(net):
    """A copy of the parameters and buffers, without the count of batches."""
    state = copy.deepcopy(net.state_dict())
    return {name: state[name] for name in state if not name.endswith("num_batches_tracked")}


def batch_norm():
    net = network(
        conv1=nn.Conv2d(3, 8, 3, padding=1, bias=False), bn1=nn.BatchNorm2d(8), relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2), flatten=nn.Flatten(), fc1=nn.Linear(8 * 4 * 4, 10),
    )
    # The defaults, ones and zeros, would hide a swapped or ignored tensor.
    for tensor in (net.bn1.weight, net.bn1.running_var):
        nn.init.uniform_(tensor, 0.5, 1.5)
    for tensor in (net.bn1.bias, net.bn1.running_mean):
        nn.init.uniform_(tensor, -0.5, 0.5)
    return net


def cases():
    """The name, network and image shape of every case."""
    yield "plain", network(
        conv1=nn.Conv2d(3, 5, 3, padding=1), flatten=nn.Flatten(), fc1=nn.Linear(5 * 9 * 7, 4),
    ), (3, 9, 7)
    yield "strided", network(
        conv1=nn.Conv2d(3, 8, 3, stride=2, padding=1), relu1=nn.ReLU(),
        conv2=nn.Conv2d(8, 6, 5, stride=2, padding=2), flatten=nn.Flatten(), fc1=nn.Linear(6 * 3 * 3, 5),
    ), (3, 10, 9)
    yield "pooled", network(
        normalise=Normalise(0.3, 0.4),
        conv1=nn.Conv2d(1, 8, 3, padding=1), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(8, 18, 3, padding=1), relu2=nn.ReLU(), pool2=nn.MaxPool2d(3, stride=2, padding=1),
        flatten=nn.Flatten(), fc1=nn.Linear(18 * 3 * 3, 12), relu3=nn.ReLU(), fc2=nn.Linear(12, 10),
    ), (1, 12, 12)
    normed = batch_norm()
    yield "batch-norm-train", copy.deepcopy(normed).train(), (3, 8, 8)
    yield "batch-norm-eval", copy.deepcopy(normed).eval(), (3, 8, 8)
    yield "wide", network(
        conv1=nn.Conv2d(4, 33, 1), relu1=nn.ReLU(), conv2=nn.Conv2d(33, 20, 3), relu2=nn.ReLU(),
        flatten=nn.Flatten(), fc1=nn.Linear(20 * 4 * 4, 7),
    ), (4, 6, 6)


def main():
    torch.manual_seed(17)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)

    golden = {}
    for case, net, shape in cases():
        golden |= record(case, net, shape)
    path = Path(__file__).resolve().with_suffix(".safetensors")
    save_file(golden, path, metadata={"torch": torch.__version__})
    print(f"{path.name}: {len(golden)} tensors, {path.stat().st_size} bytes, torch {torch.__version__}")


if __name__ == "__main__":
    main()
