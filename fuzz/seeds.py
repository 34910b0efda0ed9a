"""Writes the seeds of each target to corpus/TARGET: files of the tests, in the form that the target reads, and small
files of which the tests have none. Needs Python alone.

    python3 fuzz/seeds.py
"""

import gzip
import json
import re
import struct
from pathlib import Path

FUZZ = Path(__file__).parent
ROOT = FUZZ.parent
# libFuzzer mutates short inputs best.
LONGEST = 1 << 15


def write(target, name, content):
    folder = FUZZ / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    if len(content) <= LONGEST:
        (folder / name).write_bytes(content)


def several(*files):
    """Files in one input, each but the last with two bytes of its length before it."""
    return b"".join(struct.pack("<H", len(file)) + file for file in files[:-1]) + files[-1]


def tensors(file):
    """Names and bytes of a safetensors file."""
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    for name, about in json.loads(content[8 : 8 + length]).items():
        if name != "__metadata__":
            begin, end = about["data_offsets"]
            yield name, content[8 + length + begin : 8 + length + end]


def kept():
    """Inputs that are kept as tests."""
    for folder in [*ROOT.glob("*/*/tests/kept/*"), *ROOT.glob("tests/kept/*")]:
        for file in folder.iterdir():
            write(folder.name, file.name, file.read_bytes())


def onnx():
    for name, content in tensors(ROOT / "crates/onnx/tests/golden/graphs.safetensors"):
        if name.endswith(".onnx"):
            write("onnx", name, content)


def weights():
    golden = ROOT / "crates/weights/tests/golden"
    for file in [*golden.glob("*.pth"), *golden.glob("*.pt")]:
        write("pth", file.name, file.read_bytes())
    parts = ["model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    parts = [(golden / name).read_bytes() for name in parts]
    write("safetensors", "shards", several(*parts))
    for number, part in enumerate(parts[1:]):
        write("safetensors", f"whole-{number}", several(b"", b"", part))
    for file in ROOT.glob("plugins/loss-*/golden/*.safetensors"):
        write("safetensors", file.parent.parent.name, several(b"", b"", file.read_bytes()))
    column = lambda numbers: ("I64", [len(numbers)], struct.pack(f"<{len(numbers)}q", *numbers))
    pixels = ("F32", [2, 1, 1, 2], struct.pack("<4f", 0, 0.5, 1, 0.25))
    columns = {name: column([0, 1]) for name in ["index", "label", "prediction", "broken"]}
    images = {"adversarial": pixels, "clean": pixels, **columns}
    write("safetensors", "images", several(b"", b"", safetensors(images)))


def safetensors(arrays):
    header, numbers = {}, b""
    for name, (dtype, shape, content) in arrays.items():
        offsets = [len(numbers), len(numbers) + len(content)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        numbers += content
    header = json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + numbers


def arrays():
    golden = ROOT / "plugins/dataset-npz/tests/golden"
    for file in golden.glob("*.npz"):
        write("npz", file.name, file.read_bytes())
    # Four images each, and their labels.
    labels = [golden / name for name in ["labels-i1.npy", "labels-i4-big.npy", "labels-u8-big.npy", "float-labels.npy"]]
    for number, file in enumerate(sorted(golden.glob("*.npy"))):
        write("npy", file.name, several(labels[number % 4].read_bytes(), file.read_bytes()))
        write("npy", f"{file.name}-labels", several(file.read_bytes(), (golden / "f8.npy").read_bytes()))


def idx():
    images = struct.pack(">IIII", 0x803, 2, 2, 3) + bytes(range(12))
    labels = struct.pack(">II", 0x801, 2) + b"\x03\x09"
    packed = [gzip.compress(file, mtime=0) for file in [labels, images]]
    write("idx", "raw", several(labels, images))
    write("idx", "packed", several(*packed))
    write("idx", "mixed", several(labels, packed[1]))
    write("idx", "none", several(struct.pack(">II", 0x801, 0), struct.pack(">IIII", 0x803, 0, 2, 3)))


def cifar():
    fixtures = ROOT / "plugins/dataset-cifar/fixtures"
    ten = b"".join(b"%c\n" % letter for letter in b"abcdefghij")
    hundred = b"".join(b"%d\n" % number for number in range(100))
    write("cifar", "binary-10", b"\0" + several(ten, bytes([9]) + bytes(3072)))
    write("cifar", "binary-100", b"\2" + several(hundred, bytes([19, 99]) + bytes(3072)))
    meta, meta100 = [(fixtures / f"py2-{name}.pickle").read_bytes() for name in ["meta", "meta100"]]
    for file in fixtures.glob("*.pickle"):
        content = file.read_bytes()
        if "meta" in file.name:
            write("cifar", file.name, b"\1" + several(content, (fixtures / "py2-batch.pickle").read_bytes()))
        elif "100" in file.name:
            write("cifar", file.name, b"\3" + several(meta100, content))
        else:
            write("cifar", file.name, b"\1" + several(meta, content))


def lists():
    rows = b"file,label\ncat/1.png,cat\n1.jpg,dog\n"
    write("csv", "header", several(rows, rows))
    write("csv", "bare", several(b"1.jpg,0\ncat/1.png,1\n", b"cat/2.png,1\r\n\r\n1.jpg,0\r\n"))
    quoted = b'id,label,file\n1,"cat","cat/1.png"\n2,"d""o,\ng","a,b.png"\n'
    write("csv", "quoted", several(quoted, quoted))
    write("csv", "mark", several(b"\xef\xbb\xbf" + rows, b"\xef\xbb\xbf" + rows))
    synsets = [b"n01440764", b"n01443537", b"n01484850"]
    names = [b"ILSVRC2012_val_0000000%d.JPEG" % number for number in [1, 2, 3]]
    numbers = b"".join(b"%s %d name\n" % (synset, number) for number, synset in enumerate(synsets, 1))
    lines = lambda rows: b"".join(row + b"\n" for row in rows)
    write("imagenet", "numbers", several(numbers, b"1\n2\n3\n"))
    write("imagenet", "synsets", several(b"", lines(synsets)))
    write("imagenet", "indices", several(b"", lines(b"%s %d" % (name, i) for i, name in enumerate(names))))
    boxes = lines(b"%s,%s 1 2 3 4" % (name[:-5], synset) for name, synset in zip(names, synsets))
    write("imagenet", "boxes", several(numbers, b"ImageId,PredictionString\n" + boxes))


def images():
    fixtures = ROOT / "crates/data/fixtures"
    for target, ending in [("jpeg", "jpg"), ("png", "png")]:
        for file in fixtures.glob(f"*.{ending}"):
            write(target, file.name, file.read_bytes())
    # A list of files, each with its pixels: what begins a JPEG file and ends it.
    files = re.finditer(rb"\xff\xd8\xff.*?\xff\xd9", (fixtures / "jpegs.bin").read_bytes(), re.DOTALL)
    for number, file in enumerate(files):
        if len(file[0]) < 4096:
            write("jpeg", f"{number}.jpg", file[0])


def pipelines():
    for file in [*ROOT.glob("configs/*.toml"), *ROOT.glob("configs/*/*.toml")]:
        write("toml", file.name, file.read_bytes())
    for file in ROOT.glob("tests/cli/golden/describe-*.txt"):
        parts = file.stem.split("-", 2)
        write("toml", file.stem, pipeline(parts[1], file.read_bytes()))


def pipeline(kind, described):
    """A pipeline with every parameter of a plugin, as `temper describe` prints them."""
    rest = {
        "dataset": b"[dataset.fashion-mnist]\n",
        "model": b"[model.convnet]\n",
        "train": b"[train]\nepochs = 1\nbatch = 2\noptimizer = { lr = 0.1 }\n",
    }
    rest.pop(kind, None)
    head = rest.pop("train", b"")
    return head + described + b"\n" + b"".join(rest.values())


def results():
    samples = {"sample": [3, 5], "label": [1, 0], "natural": [1, None], "broken_by": ["pgd", None]}
    samples |= {"prediction": [2, 0], "loss": [0.5, None], "distance": [0.1, "inf"], "steps": [[True], None]}
    cost = {"attack": "pgd", "attacked": 2, "broken": 1, "forwards": 20, "backwards": 20, "seconds": 0.5}
    line = {"evaluation": "e", "weights": "last", "key": "k", "data": "0" * 64, "samples": samples, "costs": [cost]}
    whole = json.dumps(line).encode() + b"\n"
    write("records", "line", whole)
    write("records", "torn", whole + whole[:-9])
    machine = {"processor": "p", "threads": 2}
    results = {"evaluations": [], "seed": 0, "versions": {"temper": "0.1.0", "candle": "0.11.1"}, "machine": machine, "dataset": {"name": "d"}}
    results["networks"] = []
    write("records", "results", json.dumps(results).encode())


for make in [kept, onnx, weights, arrays, idx, cifar, lists, images, pipelines, results]:
    make()
