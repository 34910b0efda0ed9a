"""The networks that `make.py` trains: small ones that have between them every common kind of layer.

A network has a module, the shape of its images, the radii of its attacks, and, if temper can be told its architecture
without a graph, that architecture in TOML. `wide` is for the command; the others are for the stored files.
"""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

GREY, COLOURED = (1, 28, 28), (3, 16, 16)
RELU = '"relu"'


@dataclass
class Network:
    name: str
    what: str
    shape: tuple
    net: nn.Module
    radius: float  # l-inf
    model: str | None = None  # for weights alone, in TOML
    scale: float = 1.0  # of the last layer after training; a network that is certain of its classes


class Normalize(nn.Module):
    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x):
        return (x - self.mean) / self.std


class Residual(nn.Module):
    """The sum of `body` and `shortcut`, then ReLU."""

    def __init__(self, body, shortcut=None):
        super().__init__()
        self.body, self.shortcut = body, shortcut or nn.Identity()

    def forward(self, x):
        return torch.relu(self.body(x) + self.shortcut(x))


def chain(*layers):
    return nn.Sequential(OrderedDict(layers))


def conv(name, channels, kernel, **options):
    options = "".join(f", {key} = {str(value).lower()}" for key, value in options.items())
    return f'{{ conv = "{name}", channels = {channels}, kernel = {kernel}{options} }}'


def sequential(*layers, mean="[0.5]", std="[0.5]"):
    return f"sequential = {{ mean = {mean}, std = {std}, layers = [{', '.join(layers)}] }}"


def lenet(wide):
    a, b, hidden = (6, 16, 64) if wide else (4, 8, 32)
    net = chain(
        ("normalize", Normalize(0.5, 0.5)), ("conv1", nn.Conv2d(1, a, 5)), ("relu1", nn.ReLU()),
        ("pool1", nn.MaxPool2d(2)), ("conv2", nn.Conv2d(a, b, 5)), ("relu2", nn.ReLU()), ("pool2", nn.MaxPool2d(2)),
        ("flatten", nn.Flatten()), ("fc1", nn.Linear(16 * b, hidden)), ("relu3", nn.ReLU()), ("fc2", nn.Linear(hidden, 10)),
    )
    model = sequential(
        conv("conv1", a, 5), RELU, "{ max_pool = 2 }", conv("conv2", b, 5), RELU, "{ max_pool = 2 }", '"flatten"',
        f'{{ linear = "fc1", features = {hidden} }}', RELU, '{ linear = "fc2" }',
    )
    return Network("lenet", "LeNet: 5 x 5 convolutions without padding", GREY, net, 0.05, model)


def carlini(wide):
    """The network of Carlini and Wagner's paper, with fewer channels; its names are numbers."""
    w, hidden = (16, 64) if wide else (4, 32)
    net = nn.Sequential(
        nn.Conv2d(1, w, 3), nn.ReLU(), nn.Conv2d(w, w, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(w, 2 * w, 3), nn.ReLU(), nn.Conv2d(2 * w, 2 * w, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * w, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 10),
    )
    model = sequential(
        conv("0", w, 3), RELU, conv("2", w, 3), RELU, "{ max_pool = 2 }",
        conv("5", 2 * w, 3), RELU, conv("7", 2 * w, 3), RELU, "{ max_pool = 2 }", '"flatten"',
        f'{{ linear = "11", features = {hidden} }}', RELU, f'{{ linear = "13", features = {hidden} }}', RELU,
        '{ linear = "15" }', mean="[0.0]", std="[1.0]",
    )
    return Network("carlini", "Carlini and Wagner's CNN, logits doubled after training", GREY, net, 0.02, model, 2.0)


def smooth(wide):
    a, b = (12, 16) if wide else (6, 8)
    net = chain(
        ("normalize", Normalize(0.5, 0.5)), ("conv1", nn.Conv2d(1, a, 3, 2, 1)), ("act1", nn.PReLU(a)),
        ("conv2", nn.Conv2d(a, b, 3, 1, 1)), ("act2", nn.GELU()), ("pool", nn.AvgPool2d(2)),
        ("conv3", nn.Conv2d(b, b, 3, 1, 1, groups=2)), ("act3", nn.PReLU()),
        ("flatten", nn.Flatten()), ("fc", nn.Linear(49 * b, 10)),
    )
    model = sequential(
        conv("conv1", a, 3, stride=2, padding=1), '{ prelu = "act1" }', conv("conv2", b, 3, padding=1), '"gelu"',
        "{ average_pool = 2 }", conv("conv3", b, 3, padding=1, groups=2), '{ prelu = "act3", shared = true }',
        '"flatten"', '{ linear = "fc" }',
    )
    return Network("smooth", "PReLU, GELU, average pooling, groups", GREY, net, 0.05, model)


def residual(wide):
    a, b = (16, 32) if wide else (8, 12)

    def body(before, after, stride):
        return chain(
            ("conv1", nn.Conv2d(before, after, 3, stride, 1, bias=False)), ("bn1", nn.BatchNorm2d(after)),
            ("relu", nn.ReLU()), ("conv2", nn.Conv2d(after, after, 3, 1, 1, bias=False)), ("bn2", nn.BatchNorm2d(after)),
        )

    def written(name, channels, stride, shortcut=""):
        layers = [
            conv(f"{name}.body.conv1", channels, 3, stride=stride, padding=1, bias=False),
            f'{{ batch_norm = "{name}.body.bn1" }}', RELU,
            conv(f"{name}.body.conv2", channels, 3, padding=1, bias=False), f'{{ batch_norm = "{name}.body.bn2" }}',
        ]
        return f"{{ residual = [{', '.join(layers)}], {shortcut}after = {RELU} }}"

    shortcut = chain(("conv", nn.Conv2d(a, b, 1, 2, bias=False)), ("bn", nn.BatchNorm2d(b)))
    net = chain(
        ("normalize", Normalize(0.45, 0.25)), ("conv", nn.Conv2d(3, a, 3, 1, 1, bias=False)), ("bn", nn.BatchNorm2d(a)),
        ("relu", nn.ReLU()), ("block1", Residual(body(a, a, 1))), ("block2", Residual(body(a, b, 2), shortcut)),
        ("pool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()), ("fc", nn.Linear(b, 10)),
    )
    beside = conv("block2.shortcut.conv", b, 1, stride=2, bias=False)
    model = sequential(
        conv("conv", a, 3, padding=1, bias=False), '{ batch_norm = "bn" }', RELU, written("block1", a, 1),
        written("block2", b, 2, f'shortcut = [{beside}, {{ batch_norm = "block2.shortcut.bn" }}], '),
        '"global_average_pool"', '{ linear = "fc" }', mean="[0.45]", std="[0.25]",
    )
    return Network("residual", "batch norm and residual blocks", COLOURED, net, 0.01, model)


class Squeezed(nn.Module):
    """An inverted residual block as in MobileNetV3: expansion, depth-wise convolution, squeeze and excitation."""

    def __init__(self, channels, inner):
        super().__init__()
        self.before = nn.Sequential(nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.Hardswish())
        self.depth = nn.Sequential(
            nn.Conv2d(inner, inner, 5, 1, 2, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.Hardswish())
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(inner, inner // 4, 1), nn.ReLU(), nn.Conv2d(inner // 4, inner, 1),
            nn.Hardsigmoid())
        self.after = nn.Sequential(nn.Conv2d(inner, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        y = self.depth(self.before(x))
        return x + self.after(y * self.gate(y))


def squeeze(wide):
    a, b = (16, 24) if wide else (8, 12)
    net = nn.Sequential(
        Normalize(0.45, 0.25), nn.Conv2d(3, a, 3, 1, 1, bias=False), nn.BatchNorm2d(a), nn.Hardswish(),
        Squeezed(a, 2 * a), nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.SiLU(),
        Squeezed(b, 2 * b), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(b, 10),
    )
    return Network("squeeze", "depth-wise convolutions, squeeze and excitation", COLOURED, net, 0.01)


class Branches(nn.Module):
    """Branches of rectangular and dilated kernels, joined and shuffled; a dense connection."""

    def __init__(self, a):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, a, 3, 1, 1), nn.LeakyReLU(0.1))
        self.rows = nn.Sequential(nn.Conv2d(a, a, (1, 5), padding=(0, 2)), nn.ELU())
        self.columns = nn.Sequential(nn.Conv2d(a, a, (5, 1), padding=(2, 0)), nn.Softplus())
        self.far = nn.Sequential(nn.Conv2d(a, a, 3, 1, 2, dilation=2), nn.Tanh())
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.last = nn.Sequential(nn.Conv2d(4 * a, 2 * a, 3, 1, 1, groups=2), nn.ReLU6())
        self.fc = nn.Linear(6 * a, 10)

    def forward(self, x):
        x = self.stem((x - 0.45) / 0.25)
        x = self.pool(torch.cat([self.rows(x), self.columns(x), self.far(x), x], 1))
        n, c, h, w = x.shape
        x = x.reshape(-1, 2, c // 2, h, w).transpose(1, 2).reshape(-1, c, h, w)
        x = torch.cat([x, self.last(x)], 1)
        return self.fc(x.mean((2, 3)))


def branches(wide):
    return Network("branches", "rectangular, dilated and joined branches, channel shuffle", COLOURED,
                   Branches(8 if wide else 5), 0.01)


class Basic(nn.Module):
    """A block of Kuang Liu's ResNet."""

    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or before != channels:
            self.shortcut = nn.Sequential(nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 with the names of Kuang Liu's pytorch-cifar."""

    def __init__(self, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        before = width
        for stage in range(4):
            blocks = []
            for block in range(2):
                blocks.append(Basic(before, width << stage, 2 if stage and not block else 1))
                before = width << stage
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(before, 10)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1((x - 0.5) / 0.5)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def resnet(wide):
    width = 8 if wide else 2
    return Network("resnet", "ResNet-18 with Kuang Liu's names", COLOURED, ResNet18(width), 0.01,
                   f"resnet = {{ depth = 18, width = {width} }}")


NETWORKS = [lenet, carlini, smooth, residual, squeeze, branches, resnet]
