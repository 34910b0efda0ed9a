"""Files of torch.save that the tests of temper-weights read. Needs torch, numpy and safetensors.

    python crates/weights/tests/golden/make.py

`state.json` has the elements of the tensors in `state.pth`, `legacy.pth` and `big.pth`, as PyTorch sees them:
type, shape, and bytes in order, the least significant byte of each element first.
"""

import argparse
import collections
import datetime
import json
import os
import pathlib
import sys
import zipfile

import numpy
import safetensors.torch
import torch

HERE = pathlib.Path(__file__).parent


def numbers(*shape, dtype=torch.float32, start=0.0):
    n = int(numpy.prod(shape))
    return (torch.arange(n, dtype=torch.float64) * 0.25 - start).to(dtype).reshape(shape)


def state():
    """Every type, view and constructor that a state dictionary has."""
    base = numbers(4, 6, start=2.0)
    tensors = collections.OrderedDict()
    tensors["plain"] = numbers(2, 3)
    tensors["parameter"] = torch.nn.Parameter(numbers(3))
    tensors["half"] = numbers(2, 2, dtype=torch.float16)
    tensors["brain"] = numbers(4, dtype=torch.bfloat16)
    tensors["double"] = numbers(3, dtype=torch.float64)
    tensors["whole"] = torch.tensor([[1, -2], [3, 1 << 40]])
    tensors["bytes"] = torch.tensor([1, 2, 255], dtype=torch.uint8)
    tensors["truth"] = torch.tensor([True, False])
    tensors["complex"] = torch.tensor([1 + 2j])
    tensors["scalar"] = torch.tensor(1.5)
    tensors["empty"] = torch.zeros(0, 3)
    tensors["turned"] = base.t()
    tensors["window"] = base[1:3, 2:5]
    tensors["every-other"] = base[::2, 1::3]
    tensors["repeated"] = base[0, :1].expand(5)
    tensors["channels-last"] = numbers(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    tensors["bn.num_batches_tracked"] = torch.tensor(7)
    return tensors


def expected(tensors):
    names = {
        torch.float32: "F32",
        torch.float16: "F16",
        torch.bfloat16: "BF16",
        torch.float64: "F64",
        torch.int64: "I64",
        torch.uint8: "U8",
        torch.bool: "Bool",
        torch.complex64: "C64",
    }
    told = {}
    for name, tensor in tensors.items():
        if "num_batches_tracked" in name:
            continue
        row = tensor.detach().clone(memory_format=torch.contiguous_format).reshape(-1)
        told[name] = [names[tensor.dtype], list(tensor.shape), bytes(row.view(torch.uint8).tolist()).hex()]
    return told


def swapped(source, target):
    """The same archive as a machine writes whose most significant byte comes first."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        # Numbers of storages, in the order in which tensors first use them.
        words, seen = {}, {}
        for tensor in torch.load(source, weights_only=True).values():
            place = tensor.untyped_storage().data_ptr() if tensor.numel() else id(tensor)
            if place not in seen:
                seen[place] = len(seen)
                word = 4 if tensor.dtype == torch.complex64 else tensor.element_size()
                words[str(seen[place])] = word
        for entry in old.namelist():
            content = old.read(entry)
            folder, _, name = entry.rpartition("/")
            if name == "byteorder":
                content = b"big"
            if folder.endswith("/data"):
                word = words[name]
                content = b"".join(content[i : i + word][::-1] for i in range(0, len(content), word))
            new.writestr(zipfile.ZipInfo(entry), content)


class Shell:
    def __reduce__(self):
        return os.system, ("echo hello",)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))


def wrapped():
    own = {"module.fc.weight": numbers(2, 2), "module.fc.bias": numbers(2)}
    averaged = {name: tensor + 1 for name, tensor in own.items()}
    net = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return {
        "epoch": 3,
        "best": numpy.float64(0.5),
        "acc": torch.tensor(0.75),
        "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("runs")),
        "when": datetime.timedelta(seconds=1),
        "history": collections.defaultdict(list, loss=[1.0, 0.5]),
        "labels": numpy.arange(3),
        "device": torch.device("cpu"),
        "shape": torch.Size([1, 2]),
        "classes": {1, 2},
        "none": None,
        "long": 1 << 70,
        "optimizer": optimizer.state_dict(),
        "state_dict": own,
        "state_dict_ema": averaged,
    }


def old(value, file, **options):
    torch.save(value, HERE / file, _use_new_zipfile_serialization=False, **options)


def main():
    os.chdir(HERE)
    tensors = state()
    pathlib.Path("state.json").write_text(json.dumps(expected(tensors)).replace("], ", "],\n") + "\n")
    torch.save(tensors, "state.pth")
    old(tensors, "legacy.pth")
    swapped("state.pth", "big.pth")
    small = collections.OrderedDict(weight=numbers(2))
    torch.save(small, "protocol-5.pth", pickle_protocol=5)
    old(small, "legacy-protocol-4.pth", pickle_protocol=4)
    torch.save(wrapped(), "wrapped.pth")
    old({"model": {"net": {"fc.weight": numbers(2)}, "extra": 1}}, "nested.pth")
    old({"g": small, "d": small}, "two.pth")
    torch.save({"weight": numbers(2).to(torch.uint16), "float8": numbers(2).to(torch.float8_e4m3fn)}, "version-3.pth")
    old({"weight": numbers(2).to_sparse(), "fc": numbers(1), "note": "x"}, "sparse.pth")
    old({"weight": torch.quantize_per_tensor(numbers(2), 0.1, 0, torch.qint8)}, "quantised.pth")
    torch.save(torch.nn.Sequential(torch.nn.Linear(1, 1)), "module.pth")
    old(Net(), "legacy-module.pth")
    torch.save({"weight": numbers(2), "note": Shell()}, "shell.pth")
    old(Shell(), "legacy-shell.pth")
    old(numbers(2), "tensor.pth")
    script = torch.jit.trace(torch.nn.Linear(1, 1), torch.ones(1, 1))
    script.save("script.pt")
    half = {"a.weight": numbers(2)}
    safetensors.torch.save_file(half, "model-00001-of-00002.safetensors")
    safetensors.torch.save_file({"b.weight": numbers(3, dtype=torch.float16)}, "model-00002-of-00002.safetensors")
    files = {"a.weight": "model-00001-of-00002.safetensors", "b.weight": "model-00002-of-00002.safetensors"}
    index = {"metadata": {"total_size": 14}, "weight_map": files}
    pathlib.Path("model.safetensors.index.json").write_text(json.dumps(index) + "\n")
    print(f"torch {torch.__version__}, {sys.byteorder}-endian")


if __name__ == "__main__":
    main()
