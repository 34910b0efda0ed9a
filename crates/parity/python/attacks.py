"""The attacks of other libraries, and the same ones in temper.

Each entry has the attack in temper's TOML, and peers: the same attack by a library, on a network in float64 or float32.
The first peer in float64 is what temper is held to.
"""

import math
from dataclasses import dataclass, field

# First: adv-lib finds its stand-in for visdom there.
from common import MendedCW, of_adv_lib, of_foolbox, of_torchattacks

import foolbox.attacks as fa
import torch
import torchattacks
from adv_lib.attacks.carlini_wagner import carlini_wagner_l2
from adv_lib.attacks.deepfool import df

DOUBLE, SINGLE = torch.float64, torch.float32


@dataclass
class Peer:
    library: str
    precision: torch.dtype
    run: callable


@dataclass
class Attack:
    name: str
    temper: str
    norm: str
    radius: float
    images: int
    minimal: bool  # finds the smallest perturbation
    bound: bool  # whether the command fails where temper differs
    peers: list = field(default_factory=list)


def attacks(radius, n, stored):
    """Those of a network whose l-inf radius is `radius`; of stored files, those that are soon done."""
    steps, few = 10 if stored else 20, min(n, 100)
    step = 2 * radius / steps
    of_fb = lambda attack: of_foolbox(attack, epsilon=radius)
    libraries = ("torchattacks", "foolbox")
    pgd = dict(steps=steps, random_start=False)
    gradient = {
        "fgsm": ("fgsm = {}", dict(
            torchattacks=of_torchattacks(torchattacks.FGSM, eps=radius), foolbox=of_fb(fa.LinfFastGradientAttack()))),
        "pgd": (f'pgd = {{ steps = {steps}, step = {step:.6g}, start = "clean", success = "final" }}', dict(
            torchattacks=of_torchattacks(torchattacks.PGD, eps=radius, alpha=step, **pgd),
            foolbox=of_fb(fa.LinfProjectedGradientDescentAttack(abs_stepsize=step, **pgd)))),
    }
    every = []
    for name, (temper, runs) in gradient.items():
        peers = [Peer(library, DOUBLE, runs[library]) for library in libraries]
        peers += [] if stored else [Peer(library, SINGLE, runs[library]) for library in libraries]
        every.append(Attack(name, temper, "linf", radius, n, False, True, peers))

    def minimal(name, temper, images, bound, library, precision, run):
        if not stored or name == "deepfool":
            peer = Peer(library, precision, run)
            every.append(Attack(name, temper, "l2", 1.0, 10 if stored else images, True, bound, [peer]))

    minimal("deepfool", 'deepfool = { labels = "predicted" }', few, True, "foolbox", DOUBLE,
            of_foolbox(fa.L2DeepFoolAttack()))
    minimal("deepfool", 'deepfool = { steps = 100, overshoot_on = "step", candidates = 999 }', few, True, "adv-lib",
            DOUBLE, of_adv_lib(df, norm=2))
    # Images stay on the decision boundary there: which ones is a matter of rounding.
    minimal("deepfool, no margin", 'deepfool = { overshoot_on = "step", margin = 0.0, candidates = 999 }', few // 10,
            False, "torchattacks", DOUBLE, of_torchattacks(torchattacks.DeepFool))
    minimal("cw-l2", "cw-l2 = { steps = 100 }", few // 4, True, "foolbox", DOUBLE,
            of_foolbox(fa.L2CarliniWagnerAttack(steps=100)))
    # adv-lib mixes constants of float32 in.
    minimal("cw-l2", "cw-l2 = { steps = 100 }", few // 4, True, "adv-lib", SINGLE,
            of_adv_lib(carlini_wagner_l2, max_iterations=100))
    minimal("cw-l2, c = 10", "cw-l2 = { steps = 100, binary_search_steps = 1, initial_const = 10.0 }", few // 4, True,
            "torchattacks, corrected", SINGLE, of_torchattacks(MendedCW, c=10, steps=100))
    return every


def judged(attack, peer, nets, pixels, labels):
    """What a peer does to the first images: who is broken, or how far away. Natural errors count as broken."""
    net, judge = nets[peer.precision], nets[DOUBLE]
    pixels, labels = pixels[:attack.images], labels[:attack.images]
    correct = judge(pixels.double()).argmax(1) == labels
    found = peer.run(net, pixels[correct].to(peer.precision), labels[correct]).detach().double()
    fell = judge(found).argmax(1) != labels[correct]
    entry = {"library": peer.library, "precision": str(peer.precision).removeprefix("torch.")}
    if not attack.minimal:
        broken = ~correct
        broken[correct] = fell
        return entry | {"broken": "".join("01"[b] for b in broken.int().tolist())}
    far = torch.full((len(labels),), math.inf, dtype=DOUBLE)
    far[correct] = (found - pixels[correct].double()).flatten(1).norm(2, dim=1).masked_fill(~fell, math.inf)
    return entry | {"distances": [float(f"{d:.7g}") if d < math.inf else None for d in far.tolist()]}
