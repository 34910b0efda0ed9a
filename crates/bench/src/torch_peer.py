"""The PyTorch side of `cargo xtask bench`: torch_peer.py WORK MODE LAYOUT THREADS FOLDER

MODE is eager or compile (torch.compile in its default mode), followed by -bf16 for automatic mixed precision.

Reads weights and data that temper left in FOLDER, checks that both compute the same function, and then does one round for every
line "go" on standard input. Parameters are frozen while an attack runs, the fair baseline.
"""

import json
import resource
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

work, mode, layout, threads, folder = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
COMPILED, BF16 = mode.startswith("compile"), mode.endswith("-bf16")
torch.set_num_threads(threads)
torch.manual_seed(0)
FORMAT = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}[layout]


class Block(nn.Module):
    """Basic block of Kuang Liu's ResNet."""

    def __init__(self, inner, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inner, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential()
        if stride != 1 or inner != out:
            self.shortcut = nn.Sequential(nn.Conv2d(inner, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet18(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inner = width
        for stage in range(4):
            out = width << stage
            first = Block(inner, out, 2 if stage else 1)
            setattr(self, f"layer{stage + 1}", nn.Sequential(first, Block(out, out, 1)))
            inner = out
        self.linear = nn.Linear(inner, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1((x - 0.5) / 0.5)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(x.mean((2, 3)))


class PreBlock(nn.Module):
    """Pre-activation block of a wide residual network."""

    def __init__(self, inner, out, stride, first):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv1 = nn.Conv2d(inner, out, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        if first:
            self.shortcut = nn.Conv2d(inner, out, 1, stride, bias=False)
        self.first = first

    def forward(self, x):
        a = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(a))))
        return y + (self.shortcut(a) if self.first else x)


class Wrn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        inner = 16
        for stage in range(3):
            out = 160 << stage
            blocks = [PreBlock(inner, out, 2 if stage else 1, True)] + [PreBlock(out, out, 1, False) for _ in range(4)]
            setattr(self, f"block{stage + 1}", nn.Sequential(*blocks))
            inner = out
        self.bn = nn.BatchNorm2d(inner)
        self.linear = nn.Linear(inner, 10)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.conv1((x - 0.5) / 0.5))))
        return self.linear(F.relu(self.bn(x)).mean((2, 3)))


class SmallCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1, 1)
        self.fc1 = nn.Linear(3136, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1((x - 0.5) / 0.5)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        return self.fc2(F.relu(self.fc1(x)))


class Contender(nn.Module):
    """A network in the mode that is measured; its logits are in single precision."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.run = torch.compile(network) if COMPILED else network

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16, enabled=BF16):
            return self.run(x).float()


def exchange():
    with open(f"{folder}/exchange", "rb") as file:
        index = json.loads(file.readline())
        numbers = torch.frombuffer(bytearray(file.read()), dtype=torch.float32)
    tensors, at = {}, 0
    for name, shape in index:
        size = 1
        for length in shape:
            size *= length
        tensors[name] = numbers[at : at + size].reshape(shape)
        at += size
    return tensors


def freeze(model, frozen):
    for parameter in model.parameters():
        parameter.requires_grad_(not frozen)


def input_gradient(model, pixels, labels):
    pixels = pixels.detach().requires_grad_(True)
    return torch.autograd.grad(F.cross_entropy(model(pixels), labels, reduction="sum"), pixels)[0]


def pgd(model, pixels, labels, radii, step, steps):
    """PGD in l-inf with a radius for each sample."""
    radii = radii.view(-1, 1, 1, 1)
    low, high = (pixels - radii).clamp(0, 1), (pixels + radii).clamp(0, 1)
    x = (pixels + radii * torch.empty_like(pixels).uniform_(-1, 1)).clamp(0, 1)
    for _ in range(steps):
        x = x + step * input_gradient(model, x, labels).sign()
        x = torch.max(torch.min(x, high), low)
    return x.detach()


data = exchange()
kinds = {"resnet18": lambda: ResNet18(64), "wrn": Wrn, "small-cnn": SmallCnn}
kinds |= {"iaat-epoch": lambda: ResNet18(16), "restarts": SmallCnn, "autoattack": lambda: ResNet18(16)}
network = next(kind for name, kind in kinds.items() if work.endswith(name))()
weights = {name.removeprefix("weights/"): value.clone() for name, value in data.items() if name.startswith("weights/")}
missing = network.load_state_dict(weights, strict=False)
assert not missing.unexpected_keys, missing
assert all(name.endswith("num_batches_tracked") for name in missing.missing_keys), missing
network = network.to(memory_format=FORMAT)
model = Contender(network)
pixels, labels = data["pixels"].to(memory_format=FORMAT), data["labels"].long()
start = {name: value.clone() for name, value in network.state_dict().items()}
if "logits" in data:
    model.eval()
    with torch.no_grad():
        off = (model(pixels) - data["logits"]).abs().max() / data["logits"].abs().max()
    assert off < (5e-2 if BF16 else 1e-3), f"temper and PyTorch disagree: logits are off by {off}"


def pgd_step():
    input_gradient(model, pixels, labels)


def train_step():
    optimizer.zero_grad()
    F.cross_entropy(model(pixels), labels).backward()
    optimizer.step()


def iaat_epoch():
    """The authors' code: three full attacks a batch."""
    network.load_state_dict(start)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
    memory = torch.full((len(pixels),), 8 / 255)
    gamma, beta, step, total = 1.9 / 255, 0.1, 2 / 255, 0.0
    for rows in torch.randperm(len(pixels)).split(128):
        x, y, radii = pixels[rows].contiguous(memory_format=FORMAT), labels[rows], memory[rows]
        model.eval()
        freeze(model, True)
        with torch.no_grad():
            correct = model(x).argmax(1) == y
        holds = []
        for probe in (radii + gamma, radii):
            attacked = pgd(model, x, y, probe, step, 10)
            with torch.no_grad():
                holds.append(model(attacked).argmax(1) == y)
        shrunk = (radii - gamma).clamp(min=0)
        candidate = torch.where(holds[0], radii + gamma, torch.where(holds[1], radii, shrunk))
        memory[rows] = (1 - beta) * radii + beta * candidate
        attacked = pgd(model, x, y, memory[rows] * correct, step, 10)
        model.train()
        freeze(model, False)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(attacked), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    return f"loss {total / len(pixels):.3f}, mean radius {memory.mean() * 255:.2f}/255"


def restarts():
    import torchattacks

    attack = torchattacks.PGD(model, eps=0.1, alpha=0.02, steps=10, random_start=True)
    stands = 0
    for x, y in zip(pixels.split(128), labels.split(128)):
        with torch.no_grad():
            standing = model(x).argmax(1) == y
        for _ in range(5):
            attacked = attack(x, y)
            with torch.no_grad():
                standing &= model(attacked).argmax(1) == y
        stands += standing.sum().item()
    return f"accuracy {100 * stands / len(pixels):.1f} %"


def autoattack():
    """The authors' code, with the budgets of its standard version said."""
    from pyautoattack import AutoAttack

    # It takes images and gradients to be contiguous, whatever the layout of the network is.
    class Rows(nn.Module):
        def forward(self, x):
            if x.requires_grad:
                x.register_hook(torch.Tensor.contiguous)
            return model(x.contiguous(memory_format=FORMAT))

    suite = AutoAttack(Rows().eval(), norm="Linf", eps=8 / 255, seed=0, version="custom", attacks=[], device="cpu")
    for apgd in [suite.apgd, suite.apgd_targeted]:
        apgd.n_restarts, apgd.n_iter, apgd.eot_iter = 1, 100, 1
    suite.apgd_targeted.n_target_classes = suite.fab.n_target_classes = 9
    suite.fab.n_restarts, suite.fab.n_iter = 1, 100
    suite.square.n_queries, suite.square.n_restarts, suite.square.rescale_schedule = 5000, 1, False
    suite.attacks_to_run = ["apgd-ce", "apgd-t", "fab-t", "square"]
    attacked = suite.run_standard_evaluation(pixels.contiguous(), labels, batch_size=100)[0]
    with torch.no_grad():
        return f"accuracy {100 * (model(attacked).argmax(1) == labels).float().mean():.1f} %"


training = work.startswith("train-")
model.train(training)
freeze(model, not training)
optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9, weight_decay=5e-4) if training else None
task = {"iaat-epoch": iaat_epoch, "restarts": restarts, "autoattack": autoattack}.get(work, train_step if training else pgd_step)
print("ready", flush=True)
result = ""
for line in sys.stdin:
    if line.strip() == "end":
        break
    begun = time.perf_counter()
    result = task() or ""
    ms = (time.perf_counter() - begun) * 1e3
    if ms < 1200:  # the first was to warm up
        begun, repeats = time.perf_counter(), 0
        while time.perf_counter() - begun < 1.2:
            result = task() or ""
            repeats += 1
        ms = (time.perf_counter() - begun) * 1e3 / repeats
    print("ms", ms, flush=True)
else:
    sys.exit()  # the bench has ended without a word
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
print("result", result, flush=True)
