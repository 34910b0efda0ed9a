"""Makes golden/values.safetensors of each loss plugin: losses and their gradients with respect to logits, by PyTorch.

All values are float64. The keys are:

    clean, adversarial     logits [n, classes]; labels [n]
    LOSS/loss              the loss
    LOSS/clean, LOSS/adversarial   its gradients

TRADES and MART are written as in the authors' published code
(yaodongyu/TRADES, YisenWang/MART), cross-entropy, label smoothing and mixup by
torch's own cross_entropy. Among the logits are rows that are classified
wrongly, rows that are sure, and one whose clean and adversarial logits agree.
Run it with torch and safetensors installed: `python losses.py`.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

torch.manual_seed(23)
torch.set_default_dtype(torch.float64)
N, CLASSES = 7, 5
labels = torch.randint(CLASSES, (N,))
clean = 2 * torch.randn(N, CLASSES)
adversarial = clean + 1.5 * torch.randn(N, CLASSES)
clean[0, labels[0]] += 12
adversarial[1, (labels[1] + 1) % CLASSES] += 12
adversarial[2] = clean[2]


def trades(clean, adversarial, y, beta=6.0):
    natural = F.cross_entropy(clean, y)
    kl = torch.nn.KLDivLoss(reduction="sum")
    robust = (1.0 / N) * kl(F.log_softmax(adversarial, dim=1), F.softmax(clean, dim=1))
    return natural + beta * robust


def mart(clean, adversarial, y, beta=6.0):
    kl = torch.nn.KLDivLoss(reduction="none")
    probs = F.softmax(adversarial, dim=1)
    top = torch.argsort(probs, dim=1)[:, -2:]
    rival = torch.where(top[:, -1] == y, top[:, -2], top[:, -1])
    boosted = F.cross_entropy(adversarial, y) + F.nll_loss(torch.log(1.0001 - probs + 1e-12), rival)
    natural = F.softmax(clean, dim=1)
    true = torch.gather(natural, 1, y.unsqueeze(1)).squeeze()
    robust = (1.0 / N) * torch.sum(torch.sum(kl(torch.log(probs + 1e-12), natural), dim=1) * (1.0000001 - true))
    return boosted + beta * robust


order, lam = torch.randperm(N), 0.3
one_hot = F.one_hot(labels, CLASSES).to(clean.dtype)
mixed_labels = lam * one_hot + (1 - lam) * one_hot[order]
losses = {
    "cross-entropy": lambda c, a: F.cross_entropy(a, labels),
    "label-smoothing": lambda c, a: F.cross_entropy(a, labels, label_smoothing=0.1),
    "mixup": lambda c, a: F.cross_entropy(a, mixed_labels),
    "trades": lambda c, a: trades(c, a, labels),
    "mart": lambda c, a: mart(c, a, labels),
}
golden = {
    "clean": clean, "adversarial": adversarial, "labels": labels, "mixup/order": order,
    "mixup/lambda": torch.tensor(lam), "mixup/mixed": lam * adversarial + (1 - lam) * adversarial[order],
}
for name, loss in losses.items():
    c, a = clean.clone().requires_grad_(), adversarial.clone().requires_grad_()
    value = loss(c, a)
    value.backward()
    golden |= {f"{name}/loss": value.detach(), f"{name}/adversarial": a.grad}
    if c.grad is not None:
        golden[f"{name}/clean"] = c.grad
golden = {name: tensor.contiguous() for name, tensor in golden.items()}
plugins = Path(__file__).parents[2]
shared = ["clean", "adversarial", "labels"]
for plugin, names in {
    "cross-entropy": ["cross-entropy", "label-smoothing"], "mixup": ["mixup"], "trades": ["trades"], "mart": ["mart"],
}.items():
    own = {key: value for key, value in golden.items() if key in shared or key.split("/")[0] in names}
    path = plugins / f"loss-{plugin}" / "golden" / "values.safetensors"
    save_file(own, path, {"torch": torch.__version__})
    print(f"{path}: {len(own)} tensors, torch {torch.__version__}")
