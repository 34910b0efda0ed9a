"""Writes apgd.safetensors beside this file: iterates of torchattacks' APGD, whose loop is a copy of the authors', in f64.

Needs torch, torchattacks and safetensors. Each run has its starts, and the iterate of the highest loss for each image.
"""

import pathlib

import torch
import torchattacks
from safetensors.torch import save_file
from torch import nn

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
N, CLASSES = 12, 6

generator = torch.Generator().manual_seed(7)
normal = lambda *shape: torch.randn(*shape, generator=generator)
network = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(192, CLASSES)).eval()
for tensor, scale in zip(network.parameters(), [1.0, 0.5, 0.2, 0.1]):
    tensor.data = scale * normal(*tensor.shape)
pixels = torch.rand(N, 1, 4, 4, generator=generator)
labels = network(pixels).argmax(1)
kept = {
    "conv.weight": network[0].weight.data,
    "conv.bias": network[0].bias.data,
    "fc.weight": network[3].weight.data,
    "fc.bias": network[3].bias.data,
    "pixels": pixels,
    "labels": labels.to(torch.uint32),
}


def start(x, norm, eps):
    """The start that `attack_single_run` draws."""
    if norm == "Linf":
        t = 2 * torch.rand(x.shape) - 1
        return (x + eps * t / t.abs().max()).clamp(0, 1)
    t = torch.randn(x.shape)
    return (x + eps * t / (t.square().sum().sqrt() + 1e-12)).clamp(0, 1)


# In l2 the radius is small enough that no true class falls to the third place, where the ratio is 1 and its gradient
# rounding error.
for norm, eps in [("Linf", 0.1), ("L2", 0.15)]:
    for steps in [10, 50, 100]:
        for loss in ["ce", "dlr", "dlr-targeted"]:
            starts, bests = [], []
            for i in range(N):
                if loss == "dlr-targeted":
                    attack = torchattacks.APGDT(network, norm=norm, eps=eps, steps=steps, n_classes=CLASSES)
                    # The least likely class.
                    attack.target_class = CLASSES
                else:
                    attack = torchattacks.APGD(network, norm=norm, eps=eps, steps=steps, loss=loss)
                # One image at a time: in l2 torchattacks takes the first image's step for all.
                x, y = pixels[i : i + 1], labels[i : i + 1]
                torch.manual_seed(i)
                starts.append(start(x, norm, eps))
                torch.manual_seed(i)
                best, _, reached, _ = attack.attack_single_run(x, y)
                bests.append(best.detach())
                assert loss != "dlr" or norm != "L2" or abs(reached.item() - 1) > 1e-6
            name = f"{norm.lower()}.{steps}.{loss}"
            kept[f"{name}.start"], kept[f"{name}.best"] = torch.cat(starts), torch.cat(bests)

save_file(
    {name: tensor.contiguous() for name, tensor in kept.items()},
    pathlib.Path(__file__).with_suffix(".safetensors"),
    {"torch": torch.__version__, "torchattacks": torchattacks.__version__},
)
