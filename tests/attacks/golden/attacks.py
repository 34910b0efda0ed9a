"""Makes attacks.safetensors: what peer libraries' attacks do to a small network.

The network has random weights, in float64; the labels are its own predictions,
so every image is classified correctly. The keys are:

    pixels, labels          16 images in [0, 1]
    weights/NAME            parameters
    NAME/pixels             adversarial images, of attacks that draw nothing
    NAME/distances          of minimum-norm attacks, in the attack's norm
    NAME/success            u8: misclassified

Names are LIBRARY-ATTACK. Run it with torch, torchattacks 3.5.1, foolbox 3.3.4,
and adv-lib 0.2.8 installed (adv-lib's plots need visdom; a stand-in serves
where it is missing): `python attacks.py`. It writes beside itself, with the
versions in the file's metadata.
"""

import sys
import types
from collections import OrderedDict
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

try:
    import visdom  # noqa: F401
except ImportError:
    sys.modules["visdom"] = types.ModuleType("visdom")
    sys.modules["visdom"].Visdom = object

import foolbox
import torchattacks
from adv_lib.attacks.carlini_wagner import carlini_wagner_l2, carlini_wagner_linf
from adv_lib.attacks.deepfool import df

torch.manual_seed(23)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
net = nn.Sequential(OrderedDict(
    conv1=nn.Conv2d(2, 8, 3, padding=1), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
    conv2=nn.Conv2d(8, 12, 3, padding=1), relu2=nn.ReLU(), flatten=nn.Flatten(), fc1=nn.Linear(12 * 16, 5),
)).eval()
with torch.no_grad():
    for parameter in net.parameters():
        parameter.mul_(2.0)
    net.fc1.bias.sub_(8.0)  # negative logits: not all libraries cope
for parameter in net.parameters():
    parameter.requires_grad_(False)
pixels = torch.rand(16, 2, 8, 8)
labels = net(pixels).argmax(1)
model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
golden = {"pixels": pixels, "labels": labels} | {f"weights/{k}": v for k, v in net.state_dict().items()}
EPS = 0.03


def keep(name, found, norm=None):
    found = found.detach()
    broken = net(found).argmax(1) != labels
    golden[f"{name}/pixels"] = found.clone()
    golden[f"{name}/success"] = broken.to(torch.uint8)
    if norm is not None:
        golden[f"{name}/distances"] = (found - pixels).flatten(1).norm(norm, dim=1)
    print(f"{name}: {int(broken.sum())} of {len(labels)}")


keep("torchattacks-mifgsm", torchattacks.MIFGSM(net, eps=EPS, alpha=0.01, steps=10)(pixels, labels))
keep("foolbox-mifgsm", foolbox.attacks.LinfMomentumIterativeFastGradientMethod().run(
    model, pixels, foolbox.criteria.Misclassification(labels), epsilon=EPS))
keep("torchattacks-deepfool", torchattacks.DeepFool(net)(pixels, labels), 2)
for norm, attack in [(2, foolbox.attacks.L2DeepFoolAttack()), (torch.inf, foolbox.attacks.LinfDeepFoolAttack())]:
    name = "l2" if norm == 2 else "linf"
    keep(f"foolbox-deepfool-{name}", attack.run(model, pixels, labels), norm)
    keep(f"advlib-deepfool-{name}", df(net, pixels, labels, norm=norm), norm)
# adv-lib mixes float32 constants in.
torch.set_default_dtype(torch.float32)
single = net.to(torch.float32)
found = carlini_wagner_l2(single, pixels.float(), labels, max_iterations=200, abort_early=False)
linf = carlini_wagner_linf(single, pixels.float(), labels, learning_rate=0.005, max_iterations=200, initial_const=1e-3)
torch.set_default_dtype(torch.float64)
net.to(torch.float64)
keep("advlib-cw-l2", found.double(), 2)
keep("advlib-cw-linf", linf.double(), torch.inf)

for name in ["advlib-cw-l2", "advlib-cw-linf"]:
    del golden[f"{name}/pixels"]
metadata = {name: version(name) for name in ["torch", "torchattacks", "foolbox", "adv-lib"]}
path = Path(__file__).resolve().with_suffix(".safetensors")
save_file({k: v.contiguous() for k, v in golden.items()}, path, metadata)
print(f"{path.name}: {len(golden)} tensors, {path.stat().st_size} bytes, {metadata}")
