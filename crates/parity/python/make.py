"""Trains small networks in PyTorch, writes each in several formats, and what PyTorch makes of them in float64.

    python make.py FOLDER [--images N] [--only NAME ...] [--stored]

`cargo xtask parity PYTHON` runs it and compares; with `--stored` it writes the smaller files of
tests/networks/golden/parity. FOLDER gets `parity.json`, which lists the others:

    coloured.images      safetensors: pixels (bytes) and labels; grey ones temper has itself
    NETWORK.pth, ...     weights or graph
    NETWORK.reference    safetensors: logits and input gradients of the cross-entropy by PyTorch in float64, and
                         logits of each graph by ONNX Runtime in float32

Needs torch, numpy, safetensors, onnx, onnxscript, onnxruntime, foolbox 3.3.4, torchattacks 3.5.1 and adv-lib 0.2.8.
Training is seeded; another version of PyTorch may give other weights, with which everything is computed anew.
"""

import argparse
import copy
import json
import logging
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "tests/attacks/peers"))

import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy

from attacks import DOUBLE, SINGLE, attacks, judged
from images import in_unit, of_shape
from networks import COLOURED, GREY, NETWORKS

SEED = 17
PACKAGES = ["torch", "onnx", "onnxscript", "onnxruntime", "torchattacks", "foolbox", "adv-lib"]
# Graphs: of which opset, and whether by PyTorch's newer exporter.
GRAPHS = [(13, False), (17, False), (20, True)]
# Formats of the stored files: each at least once.
STORED = {
    "lenet": ["pth"], "carlini": ["legacy pth"], "smooth": ["safetensors"], "residual": ["onnx 17", "pth"],
    "squeeze": ["onnx 13"], "branches": ["onnx 20"],
}
# Gradients of so many images are kept in stored files.
FEW = 3


def train(network, epochs):
    pixels, labels = of_shape(network.shape, "train")
    net = network.net.train()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    steps = epochs * (len(labels) // 100)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels)).split(100):
            optimizer.zero_grad()
            cross_entropy(net(in_unit(pixels[rows])), labels[rows]).backward()
            optimizer.step()
            rate.step()
    net.eval().requires_grad_(False)
    *_, last = [layer for layer in net.modules() if isinstance(layer, torch.nn.Linear)]
    last.weight.mul_(network.scale)
    last.bias.mul_(network.scale)
    return net


def export(net, shape, file, opset, newer):
    example = torch.rand(2, *shape)
    names = dict(input_names=["pixels"], output_names=["logits"])
    if newer:
        n = torch.export.Dim("n", min=1)
        torch.onnx.export(net, (example,), file, opset_version=opset, dynamo=True, external_data=False, verbose=False,
                          dynamic_shapes=({0: n},), **names)
    else:
        torch.onnx.export(net, (example,), file, opset_version=opset, dynamo=False,
                          dynamic_axes={"pixels": {0: "n"}, "logits": {0: "n"}}, **names)


def by_runtime(file, pixels):
    """Logits by ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"pixels": pixels.numpy()})[0])


def written(network, net, folder, wanted):
    """Writes the network in all formats, or in those `wanted`. What the manifest says of each file."""
    files, state = [], {name: tensor.clone() for name, tensor in net.state_dict().items()}

    def enter(format, suffix, write, model):
        if not wanted or format in wanted:
            file = f"{network.name}{suffix}"
            write(folder / file)
            files.append({"file": file, "format": format, "model": model})

    if network.model:
        enter("pth", ".pth", lambda file: torch.save(state, file), network.model)
        # As a training script writes it, of a network on several devices.
        wrapped = {"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}
        enter("legacy pth", "-legacy.pth",
              lambda file: torch.save(wrapped, file, _use_new_zipfile_serialization=False), network.model)
        enter("safetensors", ".safetensors", lambda file: save_file(state, file), network.model)
    for opset, newer in GRAPHS:
        enter(f"onnx {opset}", f"-{opset}.onnx",
              lambda file, o=opset, by=newer: export(net, network.shape, file, o, by), None)
    return files


def references(net, pixels, labels, gradients):
    """Logits [n, classes], and gradients of the first images' cross-entropy, each by itself, in float64."""
    wide = copy.deepcopy(net).double()
    logits = wide(pixels.double())
    some = pixels[:gradients].double().requires_grad_()
    cross_entropy(wide(some), labels[:gradients], reduction="sum").backward()
    return wide, {"logits": logits, "gradients": some.grad.float()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--stored", action="store_true")
    options = parser.parse_args()
    n = options.images or (100 if options.stored else 500)
    torch.set_num_threads(1)  # these networks are small
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    options.folder.mkdir(parents=True, exist_ok=True)
    pixels, labels = of_shape(COLOURED, "test", n)
    save_file({"pixels": pixels, "labels": labels.to(torch.uint8)}, options.folder / "coloured.images")
    sources = {GREY: {"dataset": 'fashion-mnist = { images = "embedded" }'}, COLOURED: {"file": "coloured.images"}}
    entries = []
    manifest = {
        "made_by": "crates/parity/python/make.py", "seed": SEED, "n": n,
        "versions": {name: version(name) for name in PACKAGES}, "networks": entries,
    }
    for make in NETWORKS:
        if options.only and make.__name__ not in options.only or options.stored and make.__name__ not in STORED:
            continue
        start = time.perf_counter()
        torch.manual_seed(SEED)
        network = make(not options.stored)
        net = train(network, 5 if options.stored else 3)
        bytes_, labels = of_shape(network.shape, "test", n)
        pixels = in_unit(bytes_)
        wide, tensors = references(net, pixels, labels, FEW if options.stored else n)
        files = written(network, net, options.folder, STORED[network.name] if options.stored else None)
        for entry in files:
            if entry["format"].startswith("onnx"):
                tensors[f"runtime/{entry['file']}"] = by_runtime(options.folder / entry["file"], pixels)
        reference = f"{network.name}.reference"
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, options.folder / reference)
        said = []
        for attack in attacks(network.radius, n, options.stored):
            peers = [judged(attack, peer, {DOUBLE: wide, SINGLE: net}, pixels, labels) for peer in attack.peers]
            kept = ["name", "temper", "norm", "radius", "images", "bound"]
            said.append({key: getattr(attack, key) for key in kept} | {"peers": peers})
        right = (tensors["logits"].argmax(1) == labels).float().mean().item()
        single = (net(pixels).double() - tensors["logits"]).abs().max().item()
        entries.append({
            "name": network.name, "what": network.what, "parameters": sum(p.numel() for p in net.parameters()),
            "accuracy": round(right, 4), "images": sources[network.shape], "reference": reference,
            "float32": float(f"{single:.3g}"), "files": files, "attacks": said,
        })
        (options.folder / "parity.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        print(f"{network.name}: {100 * right:.1f} % right, {time.perf_counter() - start:.0f} s", flush=True)


main()
