"""Runs AutoAttack by its authors (PyPI `pyautoattack`), each of its attacks alone and the whole suite, and
adv-lib's FAB, on three networks, and collects what temper found on the same ones.

    python autoattack.py images DIR                    writes the three classes of `three` as folders of PNG files
    python autoattack.py attack NETWORK [--norm N] [--only ATTACK ...] [--seeds N]   enters in autoattack.json
    python autoattack.py fab                           adv-lib's distances on `convnet`, enters in autoattack.json
    python autoattack.py collect NETWORK RUN           enters a run of temper in temper.json
    python autoattack.py table                         prints both files side by side

Needs torch, torchvision, safetensors, pyautoattack 0.2.0 and adv-lib 0.2.8 (its plots need visdom; a stand-in serves
where it is missing). One thread. The networks, and what attacks them in temper:

    convnet   ../network.safetensors, 500 of the embedded test images of Fashion-MNIST    autoattack.toml
    three     three.safetensors, a convnet of three classes, on the folders of `images`   network-three.toml
    resnet    resnet.safetensors, a thin ResNet-18, 500 test images of CIFAR-10           network-resnet.toml

Natural errors count as broken. All images are one batch, and every parameter of the attacks is set here, also where it
is the default. An entry has, for each seed,

    accuracies   share of the 500 images that stand
    broken       one 0 or 1 an image
    seconds      of wall time, measured beside other work
"""

import argparse
import gzip
import json
import logging
import math
import statistics
import sys
import time
import types
from collections import OrderedDict
from importlib.metadata import version
from pathlib import Path

import numpy
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[3]
EMBEDDED = ROOT / "plugins/dataset-idx/embedded"
N = 500
THREE = {0: "0-top", 2: "1-pullover", 6: "2-shirt"}  # the labels of Fashion-MNIST and the folders' names
# Radii, and the classes that targeted attacks aim at: 9, or all wrong ones.
NETWORKS = {
    "convnet": dict(radii={"linf": 0.15, "l2": 2.0}, targets=9),
    "three": dict(radii={"linf": 0.15, "l2": 2.0}, targets=2),
    "resnet": dict(radii={"linf": 8 / 255, "l2": 0.5}, targets=9),
}
COMPONENTS = ["apgd-ce", "apgd-t", "fab-t", "square"]
SUITE = "standard"
REDRAWN = "-redrawn"  # Square with one change: see `redrawing`

torch.set_num_threads(1)


def embedded(split):
    """Pixels [n, 28, 28] as bytes, and labels, of the images compiled into temper."""
    parts = sorted(EMBEDDED.glob(f"{split}-images*.gz"))
    labels = numpy.frombuffer(gzip.open(EMBEDDED / f"{split}-labels.gz").read(), numpy.uint8, offset=8)
    raw = [gzip.open(p).read() for p in parts]
    pixels = numpy.concatenate([numpy.frombuffer(r, numpy.uint8, offset=16) for r in raw])
    return pixels.reshape(len(labels), 28, 28), labels


def spread(count):
    """temper's choice of `test = 500` or `samples = 500`."""
    return [i * count // N for i in range(N)]


def tensors(pixels, labels):
    """Bytes [n, c, h, w] as temper reads them."""
    pixels = pixels.astype(numpy.float32) / numpy.float32(255)
    return torch.from_numpy(pixels), torch.from_numpy(numpy.asarray(labels).astype(numpy.int64))


def images_of(name):
    if name == "convnet":
        pixels, labels = embedded("test")
        chosen = spread(len(labels))
        return tensors(pixels[chosen][:, None], labels[chosen])
    if name == "three":
        # In the order of the folders. Grey images have three equal channels there.
        pixels, labels = three("test")
        chosen = spread(len(labels))
        return tensors(pixels[chosen][:, None].repeat(3, axis=1), labels[chosen])
    raw = numpy.fromfile(ROOT.parent / "data/cifar-10-batches-bin/test_batch.bin", numpy.uint8).reshape(-1, 3073)
    chosen = raw[spread(len(raw))]
    return tensors(chosen[:, 1:].reshape(-1, 3, 32, 32), chosen[:, 0])


def three(split):
    """The images of three classes, class after class, and labels 0 to 2."""
    pixels, labels = embedded(split)
    by_class = [pixels[labels == label] for label in THREE]
    return numpy.concatenate(by_class), numpy.repeat(range(3), [len(p) for p in by_class])


def write_images(folder):
    for split in ["train", "test"]:
        pixels, labels = three(split)
        for i, (image, label) in enumerate(zip(pixels, labels)):
            path = folder / split / list(THREE.values())[label] / f"{i:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)


class Normalize(nn.Module):
    def __init__(self, mean=(0.5,), std=(0.5,)):
        super().__init__()
        self.mean, self.std = (torch.tensor(v).view(1, -1, 1, 1) for v in [mean, std])

    def forward(self, x):
        return (x - self.mean) / self.std


def convnet(channels, classes):
    return nn.Sequential(OrderedDict(
        normalize=Normalize(),
        conv1=nn.Conv2d(channels, 8, 3, padding=1), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(8, 16, 3, padding=1), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(), fc1=nn.Linear(784, 64), relu3=nn.ReLU(), fc2=nn.Linear(64, classes),
    ))


class Block(nn.Module):
    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or before != channels:
            self.shortcut = nn.Sequential(nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class ResNet18(nn.Module):
    """The network that temper calls `resnet` with depth 18, for images of 32 x 32."""

    def __init__(self, width, classes=10):
        super().__init__()
        self.normalize = Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        before = width
        for stage in range(4):
            channels, stride = width << stage, 2 if stage else 1
            blocks = nn.Sequential(Block(before, channels, stride), Block(channels, channels, 1))
            setattr(self, f"layer{stage + 1}", blocks)
            before = channels
        self.linear = nn.Linear(before, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(self.normalize(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(x.mean((2, 3)))


def folded(net):
    """The same network with batch norm in the weights of the convolutions, which is faster."""
    for module in list(net.modules()):
        for i in ["1", "2"]:
            if hasattr(module, "bn" + i):
                conv, norm = getattr(module, "conv" + i), getattr(module, "bn" + i)
                setattr(module, "conv" + i, nn.utils.fuse_conv_bn_eval(conv, norm))
                setattr(module, "bn" + i, nn.Identity())
        if len(getattr(module, "shortcut", [])):
            module.shortcut = nn.utils.fuse_conv_bn_eval(*module.shortcut)
    return net


def network(name, weights=None):
    if name == "convnet":
        net, file = convnet(1, 10), HERE.parent / "network.safetensors"
    elif name == "three":
        net, file = convnet(3, 3), HERE / "three.safetensors"
    else:
        net, file = ResNet18(8), HERE / "resnet.safetensors"
    net.load_state_dict(load_file(weights or file), strict=name != "resnet")  # torch counts batches, temper does not
    net = net.eval().requires_grad_(False)
    x, _ = images_of(name)
    before = net(x)
    net = ChannelsLast(folded(net) if name == "resnet" else net)
    assert (before - net(x)).abs().max() < 1e-4
    return net


class ChannelsLast(nn.Module):
    """Twice as fast on this processor; the same network but for rounding."""

    def __init__(self, net):
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last)

    def forward(self, x):
        return self.net(x.contiguous(memory_format=torch.channels_last))


def authors(net, norm, radius, targets, attack, seed):
    """The authors' AutoAttack with one attack, or all of version `standard`, and every budget set."""
    from pyautoattack import AutoAttack

    alone = dict(version="custom", attacks=[attack.removesuffix(REDRAWN)]) if attack != SUITE else dict(version=SUITE)
    every = AutoAttack(net, norm={"linf": "Linf", "l2": "L2"}[norm], eps=radius, seed=seed, device="cpu", **alone)
    every.apgd.n_iter, every.apgd.n_restarts, every.apgd.eot_iter, every.apgd.thr_decr = 100, 1, 1, 0.75
    t = every.apgd_targeted
    t.n_iter, t.n_restarts, t.n_target_classes, t.eot_iter, t.thr_decr = 100, 1, targets, 1, 0.75
    every.fab.n_iter, every.fab.n_restarts, every.fab.n_target_classes = 100, 1, targets
    every.fab.alpha_max, every.fab.eta, every.fab.beta = 0.1, 1.05, 0.9
    square = every.square
    square.n_queries, square.n_restarts, square.p_init, square.rescale_schedule = 5000, 1, 0.8, False
    square.loss, every.apgd.use_largereps, t.use_largereps = "margin", False, False
    if attack.endswith(REDRAWN):
        redrawing(square)
    return every


def redrawing(attack):
    """The authors' Square in l-inf with two changes: every image has signs of its own, and an image whose proposal changes
    no pixel gets other signs, as in temper and in the code of Square's authors. AutoAttack draws one set of signs for all
    images, and spends the query."""

    def attack_single_run(x, y):
        c, h, w = x.shape[1:]
        best = (x + attack.eps * attack.random_choice([len(x), c, 1, w])).clamp(0, 1)
        least = attack.margin_and_loss(best, y)[0]
        for i in range(attack.n_queries):
            at = (least > 0).nonzero().flatten()
            if not len(at):
                break
            s = min(max(round(math.sqrt(attack.p_selection(i) * h * w)), 1), h, w)
            v, u = attack.random_int(0, h - s), attack.random_int(0, w - s)
            clean, now = x[at][:, :, v:v + s, u:u + s], best[at][:, :, v:v + s, u:u + s]
            patch, same = now.clone(), torch.ones(len(at), dtype=torch.bool)
            for _ in range(20):
                signs = attack.random_choice([int(same.sum()), c, 1, 1])
                moved = now[same] + 2 * attack.eps * signs
                moved = torch.min(torch.max(moved, clean[same] - attack.eps), clean[same] + attack.eps)
                patch[same] = moved.clamp(0, 1)
                same = (patch == now).flatten(1).all(1)
                if not same.any():
                    break
            new = best[at]
            new[:, :, v:v + s, u:u + s] = patch
            margin = attack.margin_and_loss(new, y[at])[0]
            kept = (margin < least[at]) | (margin <= 0)
            best[at[kept]], least[at[kept]] = new[kept], margin[kept]
        return None, best

    attack.attack_single_run = torch.no_grad()(attack_single_run)


def bits(flags):
    return "".join("01"[int(b)] for b in flags)


def read(path):
    return json.loads(path.read_text()) if path.exists() else {}


def write(path, stored):
    """One line an entry."""
    stored["entries"] = dict(sorted(stored["entries"].items()))
    lines = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in stored["entries"].items())
    head = "".join(f" {json.dumps(k)}: {json.dumps(v)},\n" for k, v in stored.items() if k != "entries")
    path.write_text(f'{{\n{head} "entries": {{\n{lines}\n }}\n}}\n')


def enter(name, entry, natural=None):
    path = HERE / "autoattack.json"
    stored = read(path)
    names = ["torch", "pyautoattack", "adv-lib"]
    stored = {
        "versions": {n: version(n) for n in names}, "threads": torch.get_num_threads(), "n": N,
        "natural": stored.get("natural", {}) | (natural or {}),
        "entries": stored.get("entries", {}) | {name: entry},
    }
    write(path, stored)


def attack(options):
    net, (x, y) = network(options.network), images_of(options.network)
    what = NETWORKS[options.network]
    wrong = net(x).argmax(1) != y
    for norm in options.norm or list(what["radii"]):
        for name in options.only or [*COMPONENTS, SUITE]:
            if name.endswith(REDRAWN) and norm != "linf":
                sys.exit(f"{name} is an attack in l-inf: give --norm linf")
            radius, targets = what["radii"][norm], what["targets"]
            fresh = dict(norm=norm, radius=radius, targets=targets, accuracies=[], broken=[], seconds=[])
            key = f"{options.network} {norm} {name}"
            entry = read(HERE / "autoattack.json").get("entries", {}).get(key, fresh)
            # The seeds not yet stored. From the clean image FAB draws nothing at random.
            for seed in range(len(entry["accuracies"]), 1 if name == "fab-t" else options.seeds):
                start = time.perf_counter()
                suite = authors(net, norm, radius, targets, name, seed)
                try:
                    found, _ = suite.run_standard_evaluation(x, y, batch_size=N)
                except IndexError as error:  # the targeted loss, with three classes
                    print(options.network, norm, name, "fails:", error, flush=True)
                    enter(key, {"fails": f"IndexError: {error}"})
                    break
                seconds = time.perf_counter() - start
                broken = net(found).argmax(1) != y
                far = (found - x).flatten(1).norm(math.inf if norm == "linf" else 2, dim=1)
                assert far.max() <= radius * (1 + 1e-5), far.max()
                entry["accuracies"].append(round(1 - broken.sum().item() / N, 4))
                entry["broken"].append(bits(broken))
                entry["seconds"].append(round(seconds, 1))
                print(options.network, norm, name, seed, entry["accuracies"][-1], entry["seconds"][-1], flush=True)
                enter(key, entry, {options.network: bits(wrong)})


def fab(options):
    """adv-lib's FAB on `convnet`: distances of what is classified correctly."""
    try:
        import visdom  # noqa: F401
    except ImportError:
        sys.modules["visdom"] = types.ModuleType("visdom")
        sys.modules["visdom"].Visdom = object
    from adv_lib.attacks import fab as adv_fab

    net, (x, y) = network("convnet"), images_of("convnet")
    right = net(x).argmax(1) == y
    for norm, p in [("linf", math.inf), ("l2", 2)]:
        for form, parameters in [("fab", {}), ("fab-t", dict(targeted_restarts=True, restarts=9))]:
            start = time.perf_counter()
            found = adv_fab(net, x[right].clone(), y[right], norm=p, n_iter=100, **parameters)
            seconds = time.perf_counter() - start
            far = (found - x[right]).flatten(1).norm(p, dim=1).double()
            far[net(found).argmax(1) == y[right]] = math.inf
            distances = torch.full((N,), math.inf, dtype=torch.float64)
            distances[right] = far
            median = statistics.median(far.tolist())
            stands = (distances > NETWORKS["convnet"]["radii"][norm]) & right
            entry = dict(norm=norm, parameters=parameters, median=float(f"{median:.7g}"),
                         accuracy=round(stands.sum().item() / N, 4), seconds=round(seconds, 1),
                         distances=[float(f"{d:.6g}") if d < math.inf else None for d in distances.tolist()])
            print("advlib", norm, form, median, entry["accuracy"], entry["seconds"], flush=True)
            enter(f"convnet {norm} advlib-{form}", entry)


def collect(options):
    """The finished evaluations of a run of temper. A number at the end of a name tells draws apart."""
    net, (x, y) = network(options.network), images_of(options.network)
    predicted, labels = net(x).argmax(1).tolist(), y.tolist()
    path = HERE / "temper.json"
    stored = read(path)
    entries = stored.setdefault("entries", {})
    renewed = set()
    lines = {}
    for line in map(json.loads, (Path(options.run) / "records.jsonl").read_text().splitlines()):
        lines.setdefault(line["evaluation"], []).append(line)
    for name, batches in lines.items():
        # A column is left out of a batch where it has no value.
        rows = []
        for samples in (batch["samples"] for batch in batches):
            rows += [{c: v[i] for c, v in samples.items()} for i in range(len(samples["sample"]))]
        rows.sort(key=lambda row: row["sample"])
        if len(rows) < N:
            print(name, "is not finished")
            continue
        assert [row["label"] for row in rows] == labels, "other images"
        natural = [row["natural"] for row in rows]
        broken = [row["natural"] != row["label"] or row.get("broken_by") is not None for row in rows]
        if name == "natural":
            differ = [i for i in range(N) if natural[i] != predicted[i]]
            print(options.network, "natural predictions differ from the twin's at", differ or "no image")
            stored.setdefault("natural", {})[options.network] = bits(broken)
            continue
        norm, _, rest = name.partition("-")
        attack, _, draw = rest.rpartition("-")
        attack = attack if draw.isdigit() else rest
        key = f"{options.network} {norm} {attack}"
        if key not in renewed:  # what the run does not have stays
            renewed.add(key)
            entries[key] = dict(
                norm=norm, radius=NETWORKS[options.network]["radii"][norm], accuracies=[], broken=[], seconds=[])
        entry = entries[key]
        entry["accuracies"].append(round(1 - sum(broken) / N, 4))
        entry["broken"].append(bits(broken))
        entry["seconds"].append(round(sum(cost["seconds"] for batch in batches for cost in batch["costs"]), 1))
        if options.network == "convnet" and attack.startswith("fab"):
            right = [row for row in rows if row["natural"] == row["label"]]
            entry["median"] = float(f"{statistics.median(float(row['min_norm']) for row in right):.7g}")
            entry["distances"] = [float(f"{row['min_norm']:.6g}") if row["natural"] == row["label"]
                                  and row["min_norm"] != "inf" else None for row in rows]
        print(name, entry["accuracies"][-1], entry["seconds"][-1])
    stored["n"] = N
    write(path, stored)


def percent(accuracies):
    low, high = min(accuracies) * 100, max(accuracies) * 100
    return f"{low:.1f} %" if low == high else f"{low:.1f} to {high:.1f} %"


def table(options):
    theirs, ours = read(HERE / "autoattack.json")["entries"], read(HERE / "temper.json")["entries"]
    mean = statistics.fmean
    for key in [*theirs, *(k for k in ours if k not in theirs)]:
        a, b = theirs.get(key), ours.get(key)
        if a and "fails" in a:
            print(f"| {key} | {a['fails']} | {percent(b['accuracies']) if b else ''} |")
            continue
        if a and "median" in a:
            b = ours.get(key.replace("advlib-", "")) or {}
            if "median" in b:
                pairs = [(p, q) for p, q in zip(a["distances"], b["distances"]) if p and q]
                ratio = b["median"] / a["median"]
                print(f"| {key} | {a['median']:.5g} | {b['median']:.5g} | {100 * (ratio - 1):+.2f} % |",
                      f"further {sum(q > p * 1.001 for p, q in pairs)}, nearer {sum(q < p * 0.999 for p, q in pairs)}",
                      f"of {len(pairs)}, greatest ratio {max(q / p for p, q in pairs):.3f}")
            continue
        row = [percent(e["accuracies"]) if e else "" for e in (a, b)]
        note = ""
        if a and b:
            gap = 100 * (mean(b["accuracies"]) - mean(a["accuracies"]))
            always = [[i for i in range(N) if all(d[i] == bit for d in e["broken"])] for e in (a, b) for bit in "10"]
            more, less = set(always[2]) & set(always[1]), set(always[0]) & set(always[3])
            note = f"{gap:+.2f} | only temper always {sorted(more)}, only the authors always {sorted(less)}"
            note += f" | {mean(a['seconds']):.0f} s, {mean(b['seconds']):.0f} s"
        print("|", key, "|", " | ".join(row), "|", note)


def main():
    logging.basicConfig(level=logging.WARNING)
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("images")
    command.add_argument("folder", type=Path)
    command.set_defaults(run_it=lambda o: write_images(o.folder))
    command = commands.add_parser("attack")
    command.add_argument("network", choices=NETWORKS)
    command.add_argument("--norm", nargs="*", choices=["linf", "l2"])
    command.add_argument("--only", nargs="*", choices=[*COMPONENTS, SUITE, "square" + REDRAWN])
    command.add_argument("--seeds", type=int, default=3)
    command.set_defaults(run_it=attack)
    commands.add_parser("fab").set_defaults(run_it=fab)
    command = commands.add_parser("collect")
    command.add_argument("network", choices=NETWORKS)
    command.add_argument("run")
    command.set_defaults(run_it=collect)
    commands.add_parser("table").set_defaults(run_it=table)
    options = parser.parse_args()
    options.run_it(options)


main()
