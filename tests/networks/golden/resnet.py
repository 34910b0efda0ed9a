"""Makes resnet.safetensors: a thin ResNet-18 for 32 x 32 images as PyTorch computes it.

The network is defined here from the paper (He et al. 2016) in the layout that
the robustness literature uses on CIFAR. Batch norm has weights and running
statistics away from their start. All values are float64. The keys are:

    pixels, labels          a batch of three images in [0, 1]
    weights/NAME            parameters and buffers
    MODE/logits             outputs; MODE is eval, train or frozen
    MODE/gradients/pixels   gradients of the mean cross-entropy
    MODE/gradients/NAME     (train and frozen)
    train/after/NAME        batch-norm buffers after the pass

`frozen` is training with every batch norm in evaluation mode. Run it with torch
and safetensors installed: `python resnet.py`. It writes beside itself, and
prints the number of parameters at depths 18 and 34, width 64.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or before != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, blocks, width):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        before = width
        for stage, count in enumerate(blocks):
            channels = width << stage
            layer = []
            for block in range(count):
                layer.append(Block(before, channels, 2 if stage > 0 and block == 0 else 1))
                before = channels
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))
        self.linear = nn.Linear(before, 10)

    def forward(self, pixels):
        x = (pixels - 0.5) / 0.5
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(x.mean((2, 3)))


def state(net):
    return {k: v.clone() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}


def count(blocks):
    return sum(p.numel() for p in ResNet(blocks, 64).parameters())


# The published size; plugins/model-resnet tests both.
assert count([2, 2, 2, 2]) == 11_173_962
print("depth 18:", count([2, 2, 2, 2]), "depth 34:", count([3, 4, 6, 3]))
torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
net = ResNet([2, 2, 2, 2], 2)
with torch.no_grad():
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5)
            module.bias.uniform_(-0.3, 0.3)
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.3, 1.5)
start = state(net)
pixels, labels = torch.rand(3, 3, 32, 32), torch.randint(10, (3,))
golden = {"pixels": pixels.clone(), "labels": labels} | {f"weights/{k}": v for k, v in start.items()}
for mode in ["eval", "train", "frozen"]:
    net.load_state_dict(start, strict=False)
    net.train(mode != "eval")
    if mode == "frozen":
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    x = pixels.clone().requires_grad_()
    net.zero_grad()
    logits = net(x)
    F.cross_entropy(logits, labels).backward()
    golden[f"{mode}/logits"] = logits.detach()
    golden[f"{mode}/gradients/pixels"] = x.grad
    if mode != "eval":
        golden |= {f"{mode}/gradients/{k}": p.grad.clone() for k, p in net.named_parameters()}
    if mode == "train":
        golden |= {f"train/after/{k}": v for k, v in state(net).items() if "running" in k}
golden = {k: v.contiguous() for k, v in golden.items()}
save_file(golden, Path(__file__).with_name("resnet.safetensors"), {"torch": torch.__version__})
