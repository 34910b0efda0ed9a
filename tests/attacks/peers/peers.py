"""Runs the attacks of foolbox, torchattacks and adv-lib on the network beside it.

    python peers.py [NAME ...]

runs all attacks, or those whose names begin with one of NAME, and enters their
results in peers.json beside it. Needs torch, safetensors, foolbox 3.3.4,
torchattacks 3.5.1 and adv-lib 0.2.8 (adv-lib's plots need visdom; a stand-in
serves where it is missing). The network is network.safetensors, the images are
every fourth of the 2,000 test images of Fashion-MNIST that lie in this
repository. peers.toml has the same attacks by the same names, for temper.

As in temper's evaluations, only what is classified correctly is attacked, and
natural errors count as broken. What a library returns is judged by a forward
pass of its own. All images are one batch. An entry has

    accuracy     share of the 500 images that stand: not misclassified, or, of
                 the minimum-norm attacks, further than the radius
    broken       one 0 or 1 an image
    distances    of minimum-norm attacks, in the attack's norm; null where the
                 clean image is misclassified, or nothing was found
    median       of these; what was not found is infinitely far
    seconds      wall time; the median of three, if the first took less than 10
    parameters   what was not left at the library's default
"""

import json
import math
import statistics
import sys
import time
from collections import OrderedDict
from importlib.metadata import version
from pathlib import Path

import numpy
import torch
from common import MendedCW, embedded, of_adv_lib, of_foolbox, of_torchattacks, spread
from safetensors.torch import load_file
from torch import nn

import foolbox.attacks as fa
import torchattacks
from adv_lib.attacks import pgd_linf
from adv_lib.attacks.carlini_wagner import carlini_wagner_l2, carlini_wagner_linf
from adv_lib.attacks.deepfool import df

HERE = Path(__file__).resolve().parent
N, SEEDS = 500, 5
# Half as far again as the network was trained for, so that attacks leave about half of what is classified correctly.
LINF, L2 = 0.15, 2.0
inf = math.inf

torch.set_num_threads(2)


def images():
    """Pixels [500, 1, 28, 28] and labels, spread evenly over the embedded test images."""
    pixels, labels = embedded("test")
    pixels = pixels[:, None].astype(numpy.float32) / numpy.float32(255)
    chosen = spread(N, len(labels))
    return torch.from_numpy(pixels[chosen]), torch.from_numpy(labels[chosen].astype(numpy.int64))


class Normalize(nn.Module):
    def forward(self, x):
        return (x - 0.5) / 0.5


def network():
    net = nn.Sequential(OrderedDict(
        normalize=Normalize(),
        conv1=nn.Conv2d(1, 8, 3, padding=1), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(8, 16, 3, padding=1), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(), fc1=nn.Linear(784, 64), relu3=nn.ReLU(), fc2=nn.Linear(64, 10),
    ))
    net.load_state_dict(load_file(HERE / "network.safetensors"))
    return net.eval().requires_grad_(False)


def attacks():
    """For each name: the attack, whether it draws random numbers, the norm that it minimises if it does, the radius,
    parameters."""
    every = {}

    def enter(name, attack, parameters, norm=None, radius=LINF, drawn=False):
        library, form = {
            "foolbox": ("foolbox", lambda: of_foolbox(attack(**parameters), **({} if norm else {"epsilon": radius}))),
            "torchattacks": ("torchattacks", lambda: of_torchattacks(attack, **parameters)),
            "advlib": ("adv-lib", lambda: of_adv_lib(attack, **parameters)),
        }[name.split("-")[0]]
        every[name] = dict(run=form(), library=library, attack=attack.__name__, norm=norm, radius=radius, drawn=drawn,
                           parameters=parameters)

    enter("foolbox-fgsm", fa.LinfFastGradientAttack, {})
    enter("torchattacks-fgsm", torchattacks.FGSM, dict(eps=LINF))

    steps = dict(steps=20, random_start=False)
    enter("foolbox-pgd", fa.LinfProjectedGradientDescentAttack, steps | dict(abs_stepsize=0.015))
    enter("torchattacks-pgd", torchattacks.PGD, steps | dict(eps=LINF, alpha=0.015))
    enter("advlib-pgd", pgd_linf, dict(ε=LINF, steps=20, random_init=False, absolute_step_size=0.015))
    enter("foolbox-pgd-l2", fa.L2ProjectedGradientDescentAttack, steps | dict(abs_stepsize=0.2), radius=L2)
    enter("torchattacks-pgd-l2", torchattacks.PGDL2, steps | dict(eps=L2, alpha=0.2), radius=L2)

    steps = dict(steps=20, random_start=True)
    enter("foolbox-pgd-random", fa.LinfProjectedGradientDescentAttack, steps | dict(abs_stepsize=0.015), drawn=True)
    enter("torchattacks-pgd-random", torchattacks.PGD, steps | dict(eps=LINF, alpha=0.015), drawn=True)
    enter("advlib-pgd-random", pgd_linf, dict(ε=LINF, steps=20, absolute_step_size=0.015), drawn=True)
    enter("foolbox-pgd-l2-random", fa.L2ProjectedGradientDescentAttack, steps | dict(abs_stepsize=0.2), radius=L2, drawn=True)
    enter("torchattacks-pgd-l2-random", torchattacks.PGDL2, steps | dict(eps=L2, alpha=0.2), radius=L2, drawn=True)

    enter("foolbox-mi-fgsm", fa.LinfMomentumIterativeFastGradientMethod, {})
    enter("torchattacks-mi-fgsm", torchattacks.MIFGSM, dict(eps=LINF, alpha=0.03))

    enter("foolbox-deepfool-l2", fa.L2DeepFoolAttack, {}, norm=2, radius=L2)
    enter("torchattacks-deepfool-l2", torchattacks.DeepFool, {}, norm=2, radius=L2)
    enter("advlib-deepfool-l2", df, dict(norm=2), norm=2, radius=L2)
    enter("foolbox-deepfool-linf", fa.LinfDeepFoolAttack, {}, norm=inf)
    enter("advlib-deepfool-linf", df, dict(norm=inf), norm=inf)

    enter("foolbox-cw-l2", fa.L2CarliniWagnerAttack, dict(steps=500), norm=2, radius=L2)
    enter("advlib-cw-l2", carlini_wagner_l2, dict(max_iterations=500), norm=2, radius=L2)
    enter("torchattacks-cw-l2", torchattacks.CW, dict(c=10, steps=500), norm=2, radius=L2)
    enter("torchattacks-cw-l2-mended", MendedCW, dict(c=10, steps=500), norm=2, radius=L2)
    enter("advlib-cw-linf", carlini_wagner_linf, dict(max_iterations=100, initial_const=0.01), norm=inf)
    return every


def judged(net, pixels, labels, correct, found, attack):
    """Accuracy, flags and distances of what an attack found for the images of `correct`."""
    found = found.detach()
    fell = net(found).argmax(1) != labels[correct]
    entry = {}
    if attack["norm"]:
        far = (found - pixels[correct]).flatten(1).norm(attack["norm"], dim=1).double()
        far[~fell] = inf
        fell = far <= attack["radius"]
        distances = torch.full((N,), inf, dtype=torch.float64)
        distances[correct] = far
        entry["distances"] = [float(f"{d:.7g}") if d < inf else None for d in distances.tolist()]
        median = statistics.median(far.tolist())
        entry["median"] = float(f"{median:.7g}") if median < inf else None
    broken = ~correct
    broken[correct] = fell
    return {"accuracy": round(1 - broken.sum().item() / N, 3), "broken": "".join("01"[b] for b in broken.int().tolist())} | entry


def timed(attack, net, pixels, labels, seed):
    torch.manual_seed(seed)
    start = time.perf_counter()
    found = attack["run"](net, pixels, labels)
    return found, time.perf_counter() - start


def main():
    net, (pixels, labels) = network(), images()
    correct = net(pixels).argmax(1) == labels
    path = HERE / "peers.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    stored["versions"] = {name: version(name) for name in ["torch", "foolbox", "torchattacks", "adv-lib"]}
    stored["threads"], stored["n"] = torch.get_num_threads(), N
    stored["natural"] = "".join("01"[b] for b in (~correct).int().tolist())
    results = stored.setdefault("attacks", {})
    every = attacks()
    wanted = [name for name in every if not sys.argv[1:] or any(name.startswith(w) for w in sys.argv[1:])]
    for name in wanted:
        attack = every[name]
        attacked = (net, pixels[correct], labels[correct])
        found, seconds = timed(attack, *attacked, 0)
        entry = {key: attack[key] for key in ["library", "attack", "radius", "parameters"]}
        entry["parameters"] = {k: "inf" if v == inf else v for k, v in entry["parameters"].items()}
        entry |= judged(net, pixels, labels, correct, found, attack)
        draws = [(found, seconds)]
        if attack["drawn"]:
            draws += [timed(attack, *attacked, seed) for seed in range(1, SEEDS)]
            entry["accuracies"] = [judged(net, pixels, labels, correct, f, attack)["accuracy"] for f, _ in draws]
            del entry["accuracy"], entry["broken"]
        elif seconds < 10:
            draws += [timed(attack, *attacked, 0) for _ in range(2)]
        entry["seconds"] = round(statistics.median(s for _, s in draws), 3)
        results[name] = entry
        said = [entry.get("accuracies") or entry["accuracy"], entry.get("median"), entry["seconds"]]
        print(name, *(s for s in said if s is not None), flush=True)
        stored["attacks"] = {name: results[name] for name in every if name in results}
        lines = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in stored["attacks"].items())
        head = "".join(f" {json.dumps(k)}: {json.dumps(v)},\n" for k, v in stored.items() if k != "attacks")
        path.write_text(f'{{\n{head} "attacks": {{\n{lines}\n }}\n}}\n')


main()
