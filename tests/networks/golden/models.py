"""Makes models.safetensors: narrow residual networks as PyTorch computes them.

The networks are defined here in the layouts and with the names of the usual
PyTorch code: torchvision's for ImageNet, Kuang Liu's for 32 x 32 images, the
option-A networks of He et al. 2016, section 4.2, wide residual networks (of
Zagoruyko & Komodakis 2016, and of the authors of IAAT). At full width those
for ImageNet are compared with torchvision: same names, same logits. The keys:

    CASE/pixels, CASE/labels   bytes of a batch of images (float: / 255); int64
    CASE/names                 text: a line for each parameter or buffer, its
                               name and its shape
    CASE/weights               their values, one after the other, as bytes: b
                               stands for s |s|, s = (b - 128) / 32
    CASE/MODE/logits           float64; MODE is eval, or train too
    CASE/MODE/gradient         gradient of the mean cross-entropy with respect
                               to the pixels, float32 of float64

Weights are rounded to 8 bits before anything is computed, to keep the file
small; sums are taken in float64. Batch norm has weights and statistics away
from their start. Run it with torch, torchvision and safetensors installed:
`python models.py`. It writes beside itself, and prints numbers of parameters,
which plugins/model-resnet and plugins/model-wide-resnet test.
"""

from pathlib import Path

import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F


def conv(before, after, kernel, stride=1):
    return nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)


class Block(nn.Module):
    """Basic block (figure 5, left) or bottleneck (right), with a 1 x 1 shortcut of this name, or option A (None)."""

    def __init__(self, before, channels, stride, expansion, shortcut):
        super().__init__()
        after = channels * expansion
        if expansion == 1:
            self.conv1, self.bn1 = conv(before, channels, 3, stride), nn.BatchNorm2d(channels)
            self.conv2, self.bn2 = conv(channels, after, 3), nn.BatchNorm2d(after)
        else:
            self.conv1, self.bn1 = conv(before, channels, 1), nn.BatchNorm2d(channels)
            self.conv2, self.bn2 = conv(channels, channels, 3, stride), nn.BatchNorm2d(channels)
            self.conv3, self.bn3 = conv(channels, after, 1), nn.BatchNorm2d(after)
        self.last, self.shortcut_name, self.added = expansion > 1, None, after - before
        if (stride != 1 or before != after) and shortcut:
            self.shortcut_name = shortcut
            setattr(self, shortcut, nn.Sequential(conv(before, after, 1, stride), nn.BatchNorm2d(after)))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.last:
            y = self.bn3(self.conv3(F.relu(y)))
        if self.shortcut_name:
            x = getattr(self, self.shortcut_name)(x)
        elif self.added:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added // 2, self.added // 2))
        return F.relu(y + x)


class ResNet(nn.Module):
    def __init__(self, blocks, width, expansion=1, imagenet=False, option_a=False, classes=10):
        super().__init__()
        self.mean, self.std = torch.full((3, 1, 1), 0.5), torch.full((3, 1, 1), 0.5)
        self.conv1, self.bn1 = conv(3, width, 3), nn.BatchNorm2d(width)
        if imagenet:
            self.mean = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
            self.std = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)
            self.conv1 = conv(3, width, 7, 2)
        shortcut = None if option_a else "downsample" if imagenet else "shortcut"
        before = width
        for stage, count in enumerate(blocks):
            channels, layer = width << stage, []
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                layer.append(Block(before, channels, stride, expansion, shortcut))
                before = channels * expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))
        self.stages, self.imagenet, self.head = len(blocks), imagenet, "fc" if imagenet else "linear"
        setattr(self, self.head, nn.Linear(before, classes))

    def features(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if self.imagenet:
            x = F.max_pool2d(x, 3, 2, 1)
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return getattr(self, self.head)(x.mean((2, 3)))

    def forward(self, pixels):
        return self.features((pixels - self.mean) / self.std)


CIFAR_MEAN = torch.tensor([125.3, 123.0, 113.9], dtype=torch.float64).reshape(3, 1, 1) / 255
CIFAR_STD = torch.tensor([63.0, 62.1, 66.7], dtype=torch.float64).reshape(3, 1, 1) / 255


class PreActivation(nn.Module):
    """Block of a wide residual network; where channels change, the shortcut too reads the activations."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(before), conv(before, after, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(after), conv(after, after, 3)
        self.convShortcut = conv(before, after, 1, stride) if before != after else None

    def forward(self, x):
        a = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(a))))
        return y + (self.convShortcut(a) if self.convShortcut else x)


class Group(nn.Module):
    def __init__(self, count, before, after, stride):
        super().__init__()
        first = PreActivation(before, after, stride)
        self.layer = nn.Sequential(first, *(PreActivation(after, after, 1) for _ in range(1, count)))

    def forward(self, x):
        return self.layer(x)


class WideResNet(nn.Module):
    def __init__(self, count, width, classes=10):
        super().__init__()
        self.conv1 = conv(3, 16, 3)
        self.block1 = Group(count, 16, 16 * width, 1)
        self.block2 = Group(count, 16 * width, 32 * width, 2)
        self.block3 = Group(count, 32 * width, 64 * width, 2)
        self.bn1, self.fc = nn.BatchNorm2d(64 * width), nn.Linear(64 * width, classes)

    def forward(self, pixels):
        x = self.block3(self.block2(self.block1(self.conv1((pixels - CIFAR_MEAN) / CIFAR_STD))))
        return self.fc(F.relu(self.bn1(x)).mean((2, 3)))


class AuthorsBlock(nn.Module):
    def __init__(self, channels, down):
        super().__init__()
        before = channels // 2 if down else channels
        self.bn0, self.conv0 = nn.BatchNorm2d(before, affine=False), conv(before, channels, 3, 2 if down else 1)
        self.bn1, self.conv1 = nn.BatchNorm2d(channels, affine=False), conv(channels, channels, 3)
        self.down = down

    def forward(self, x):
        y = self.conv1(F.relu(self.bn1(self.conv0(F.relu(self.bn0(x))))))
        if self.down:
            x = F.avg_pool2d(x, 3, 2, 1)
            x = torch.cat([x, torch.zeros_like(x)], 1)
        return x + y


class AuthorsWideResNet(nn.Module):
    """That of the authors of IAAT; here convolutions are modules, so that names end in `.weight`."""

    def __init__(self, count, width, classes=10):
        super().__init__()
        self.conv0 = conv(3, 16 * width, 3)
        for i in range(3):
            blocks = {f"block{j}": AuthorsBlock(16 * width << i, i > 0 and j == 0) for j in range(count)}
            group = nn.Sequential()
            for name, block in blocks.items():
                group.add_module(name, block)
            setattr(self, f"group{i}", group)
        self.bn = nn.BatchNorm2d(64 * width, affine=False)
        self.conv_last, self.bn_last = conv(64 * width, classes, 1), nn.BatchNorm2d(classes)

    def forward(self, pixels):
        x = self.conv0((pixels - CIFAR_MEAN) / CIFAR_STD)
        x = self.group2(self.group1(self.group0(x)))
        return self.bn_last(self.conv_last(F.relu(self.bn(x)))).mean((2, 3))


DEPTHS = {
    18: ([2, 2, 2, 2], 1), 34: ([3, 4, 6, 3], 1),
    50: ([3, 4, 6, 3], 4), 101: ([3, 4, 23, 3], 4), 152: ([3, 8, 36, 3], 4),
}


def compare_with_torchvision():
    published = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}
    for depth, (blocks, expansion) in DEPTHS.items():
        ours = ResNet(blocks, 64, expansion, imagenet=True, classes=1000).eval()
        theirs = getattr(torchvision.models, f"resnet{depth}")().eval()
        assert [(k, v.shape) for k, v in state(ours).items()] == [(k, v.shape) for k, v in state(theirs).items()]
        ours.load_state_dict(theirs.state_dict())
        x = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            assert torch.allclose(ours.features(x), theirs(x), atol=1e-4)
        assert count(ours) == published[depth]


def count(net):
    return sum(p.numel() for p in net.parameters())


def print_counts():
    for depth, (blocks, expansion) in DEPTHS.items():
        print(f"resnet {depth}, ImageNet:", count(ResNet(blocks, 64, expansion, imagenet=True, classes=1000)))
        print(f"resnet {depth}, CIFAR-10:", count(ResNet(blocks, 64, expansion)))
    for depth in [20, 32, 44, 56, 110]:
        print(f"resnet {depth}:", count(ResNet([(depth - 2) // 6] * 3, 16, option_a=True)))
    for depth, width in [(16, 4), (28, 10), (34, 10), (40, 2)]:
        print(f"wide-resnet {depth}-{width}:", count(WideResNet((depth - 4) // 6, width)))
    print("wide-resnet 32-10, authors' code:", count(AuthorsWideResNet(5, 10)))


def state(net):
    return {k: v.clone() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}


def to_bytes(values):
    roots = values.abs().sqrt() * values.sign()
    return (roots * 32 + 128).round().clamp(0, 255).to(torch.uint8)


def from_bytes(values):
    roots = (values.double() - 128) / 32
    return roots * roots.abs()


def settle(net, pixels):
    """Batch norm's weights and statistics away from their start, then everything in bytes."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
            if norm.affine:
                norm.weight.uniform_(0.5, 1.5)
                norm.bias.uniform_(-0.3, 0.3)
        net.train()(pixels)
        for norm in norms:
            norm.momentum = 0.1
            norm.running_mean += torch.empty_like(norm.running_mean).uniform_(-0.2, 0.2)
            norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.7, 1.4)
            norm.running_var.clamp_(min=0.02)
        for name, tensor in net.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                tensor.copy_(from_bytes(to_bytes(tensor)))


def record(net, n, shape, modes):
    pixels = torch.randint(256, (n, *shape), dtype=torch.uint8)
    labels = torch.randint(10, (n,))
    settle(net, pixels.double() / 255)
    start = state(net)
    golden = {"pixels": pixels, "labels": labels}
    names = "\n".join(" ".join([k, *map(str, v.shape)]) for k, v in start.items())
    golden["names"] = torch.frombuffer(bytearray(names.encode()), dtype=torch.uint8)
    golden["weights"] = torch.cat([to_bytes(v).flatten() for v in start.values()])
    for mode in modes:
        net.train(mode == "train")
        x = (pixels.double() / 255).requires_grad_()
        logits = net(x)
        F.cross_entropy(logits, labels).backward()
        golden[f"{mode}/logits"] = logits.detach().clone()
        golden[f"{mode}/gradient"] = x.grad.float()
    return golden


def main():
    compare_with_torchvision()
    print_counts()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    both = ["eval", "train"]
    cases = {
        "resnet18-imagenet": (ResNet([2, 2, 2, 2], 2, imagenet=True), 1, (3, 34, 33), ["eval"]),
        "resnet50-imagenet": (ResNet([3, 4, 6, 3], 1, 4, imagenet=True), 1, (3, 34, 33), both),
        "resnet50-cifar": (ResNet([3, 4, 6, 3], 1, 4), 2, (3, 14, 12), ["eval"]),
        "resnet20": (ResNet([3, 3, 3], 4, option_a=True), 2, (3, 13, 12), both),
        "wrn-10-1": (WideResNet(1, 1), 2, (3, 13, 12), both),
        "wrn-8-1-authors": (AuthorsWideResNet(1, 1), 2, (3, 13, 12), both),
    }
    golden = {}
    for case, (net, n, shape, modes) in cases.items():
        golden |= {f"{case}/{k}": v.contiguous() for k, v in record(net, n, shape, modes).items()}
    path = Path(__file__).resolve().with_suffix(".safetensors")
    save_file(golden, path, metadata={"torch": torch.__version__, "torchvision": torchvision.__version__})
    print(f"{path.name}: {len(golden)} tensors, {path.stat().st_size} bytes, torch {torch.__version__}")


if __name__ == "__main__":
    main()
